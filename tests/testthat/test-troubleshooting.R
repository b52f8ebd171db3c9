# The first line of every error and warning in a folder of R code, with an ellipsis for what differs from case to case.
first_lines <- function(folder) {
  lines <- character()
  visit <- function(code) {
    if (is.call(code)) {
      name <- sub("^cli::", "", deparse(code[[1]])[[1]])
      if (name %in% c("cli_abort", "cli_warn")) {
        message <- code[[2]]
        first <- if (is.call(message) && identical(message[[1]], quote(c))) message[[2]] else message
        lines <<- c(lines, texts(first))
      }
      lapply(as.list(code)[-1], function(part) if (!missing(part)) visit(part))
    }
    invisible()
  }
  for (file in list.files(folder, "[.]R$", full.names = TRUE)) for (code in parse(file)) visit(code)
  # What only hands on a message of Python's is listed with Python's.
  setdiff(unique(gsub("\\s+", " ", lines)), "…")
}

# All strings of an expression, as the user would see them.
texts <- function(code) {
  if (is.character(code)) plain(code) else if (is.call(code)) unlist(lapply(as.list(code)[-1], texts))
}

# `{.arg name}` shows its text, `{.val {value}}` and `{value}` show a value, `{?s}` a plural.
plain <- function(text) {
  text <- gsub("\\\\\\n\\s*", "", text)
  text <- gsub("[{][?][^}]*[}]", "", text)
  text <- gsub("[{][.][a-z_]+ [{][^}]*[}][}]", "…", text)
  text <- gsub("[{][.][a-z_]+ ([^{}]*)[}]", "\\1", text)
  gsub("[{][^{}]*[}]", "…", text)
}

test_that("every error and warning of the R code is on the page on troubleshooting", {
  source <- test_path("..", "..", "R")
  skip_if_not(dir.exists(source), "the sources of the package")
  page <- readLines(test_path("..", "..", "vignettes", "troubleshooting.Rmd"), encoding = "UTF-8")
  listed <- sub("^[*] [*][*](.*?)[*][*].*", "\\1", grep("^[*] [*][*]", page, value = TRUE), perl = TRUE)
  said <- first_lines(source)
  expect_gt(length(said), 10)
  expect_identical(setdiff(said, gsub("`", "", listed, fixed = TRUE)), character())
})
