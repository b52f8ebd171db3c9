# What a conversion kept, renamed and dropped: gathered on the way, returned with the result.

new_report <- function(from = "", to = "") {
  report <- new.env(parent = emptyenv())
  report$from <- from
  report$to <- to
  report$rows <- list()
  report
}

kept <- function(report, part, where = "") add_row(report, "kept", part, where)
renamed <- function(report, part, why) add_row(report, "renamed", part, why)
dropped <- function(report, part, why) add_row(report, "dropped", part, why)

add_row <- function(report, action, part, detail) {
  report$rows[[length(report$rows) + 1]] <- list(part = part, action = action, detail = detail)
  invisible()
}

report_table <- function(report) {
  column <- function(name) vapply(report$rows, `[[`, "", name)
  table <- data.frame(part = column("part"), action = column("action"), detail = column("detail"))
  structure(table, class = c("celloquy_conversion", "data.frame"), from = report$from, to = report$to)
}

#' @export
print.celloquy_conversion <- function(x, ...) {
  cli::cli_text("{attr(x, 'from')} to {attr(x, 'to')}: {sum(x$action == 'kept')} part{?s} kept, \\
                 {sum(x$action == 'renamed')} renamed, {sum(x$action == 'dropped')} dropped.")
  table <- as.data.frame(x)
  for (action in c("renamed", "dropped", "kept")) {
    rows <- table[table$action == action, ]
    bullet <- c(renamed = "!", dropped = "x", kept = "*")[[action]]
    for (i in seq_len(nrow(rows))) {
      part <- rows$part[[i]]
      detail <- rows$detail[[i]]
      cli::cli_bullets(stats::setNames("{.strong {part}}{if (nzchar(detail)) ': '}{detail}", bullet))
    }
  }
  invisible(x)
}

#' @export
as.data.frame.celloquy_conversion <- function(x, ...) {
  structure(x, class = "data.frame", from = NULL, to = NULL)
}

# Say once, in a line or two, what a user should know; all of it is in the report.
say_report <- function(table, verbose, how) {
  if (!verbose) {
    return(invisible())
  }
  lost <- table[table$action == "dropped", ]
  other <- table[table$action == "renamed", ]
  cli::cli_inform(c(
    v = "{attr(table, 'from')} to {attr(table, 'to')}: {sum(table$action == 'kept')} part{?s} kept.",
    "!" = if (nrow(other)) "Renamed: {other$part}.",
    x = if (nrow(lost)) "Dropped: {lost$part}.",
    i = if (nrow(other) || nrow(lost)) "Why: {.code {how}}."
  ))
}
