#' Plots of responses to perturbations
#'
#' `ResponsePlot()` draws what [PredictResponse()] found:
#'
#' * `"changes"`: the measured change of each gene against the predicted one, of conditions that were hidden;
#' * `"volcano"`: how far each gene changes against how sure that is. What was measured is set against −log10 p, of a
#'   normal test of the change by its standard error, with genes coloured whose false discovery rate is below .05; what
#'   was predicted against its size in half intervals, above 1 of which the interval leaves out 0;
#' * `"dose"`: the change of genes along the dose, predicted as lines with intervals, measured as points with standard
#'   errors;
#' * `"reliability"`: the correlation of predicted with measured change of hidden conditions, against the size of the
#'   predicted change (root mean square over genes), by which `reliability` is told; dashed the mean of each situation.
#'
#' @param response What [PredictResponse()] returned.
#' @param kind `"changes"`, `"volcano"`, `"dose"` or `"reliability"`.
#' @param conditions Names of conditions to draw, a panel each; for `"dose"` names of perturbations. By default the
#'   hidden conditions that change the most, the first condition, or the first perturbation.
#' @param features Genes to draw along the dose.
#' @param n Number of hidden conditions by default, or of coloured genes that a volcano names, the surest first.
#' @return A ggplot.
#' @seealso [PredictResponse()]
#' @examples
#' \dontrun{
#' ResponsePlot(told, "volcano", "KLF1")
#' ResponsePlot(told, "dose", "dexamethasone", features = c("FKBP5", "TSC22D3"))
#' }
#' @export
ResponsePlot <- function(response, kind = c("changes", "volcano", "dose", "reliability"), conditions = NULL,
                         features = NULL, n = 6) {
  rlang::check_installed("ggplot2")
  kind <- choice(rlang::arg_match(kind))
  n <- whole_number(n)
  if (!inherits(response, "celloquy_response")) {
    cli::cli_abort(c(
      "This is no response to perturbations.",
      x = "Found: {.obj_type_friendly {response}}.",
      i = "Pass what {.fn PredictResponse} returned."
    ), class = "celloquy_ArgumentError", argument = "response")
  }
  if (kind %in% c("changes", "reliability") && ncol(response$held.out$observed) == 0) {
    cli::cli_abort(c(
      "No condition was hidden.",
      x = "Too few conditions were measured to tell some from others.",
      i = "Learn from more perturbations, contexts or doses."
    ), class = "celloquy_ArgumentError", argument = "response")
  }
  switch(kind,
    changes = plot_changes(response$held.out, conditions, n),
    volcano = plot_volcano(response, conditions, n),
    dose = plot_doses(response, conditions, features),
    reliability = plot_reliability(response$held.out)
  )
}

plot_changes <- function(held, conditions, n) {
  if (is.null(conditions)) {
    conditions <- utils::head(colnames(held$observed)[order(-colSums(held$observed^2))], n)
  }
  conditions <- check_conditions(conditions, colnames(held$observed))
  about <- held$conditions[conditions, ]
  titles <- paste(conditions, folded(sprintf("%s, r = %.2f", about$situation, about$correlation)), sep = "\n")
  drawn <- do.call(rbind, Map(function(condition, title) {
    data.frame(title = title, predicted = held$predicted[, condition], observed = held$observed[, condition])
  }, conditions, titles))
  drawn$title <- factor(drawn$title, titles)
  ggplot2::ggplot(drawn, ggplot2::aes(.data$predicted, .data$observed)) +
    ggplot2::geom_abline(linetype = 2, colour = "grey60") +
    ggplot2::geom_point(size = 0.8, colour = "#1f5f8b") +
    ggplot2::facet_wrap("title", scales = "free") +
    ggplot2::labs(x = "predicted change", y = "measured change") +
    ggplot2::theme_classic() +
    ggplot2::theme(strip.background = ggplot2::element_blank())
}

plot_volcano <- function(response, conditions, n) {
  measured <- colnames(response$measured$change)
  present <- union(measured, colnames(response$change))
  conditions <- check_conditions(conditions %||% present[[1]], present)
  drawn <- do.call(rbind, lapply(conditions, function(condition) {
    if (condition %in% measured) {
      tested_changes(response$measured$change[, condition], response$measured$error[, condition], condition)
    } else {
      width <- response$upper[, condition] - response$change[, condition]
      change <- response$change[, condition]
      sure <- ifelse(is.finite(width) & width > 0, abs(change) / width, 0)
      data.frame(gene = names(change), change = change, sure = sure, found = sure > 1, condition = condition)
    }
  }))
  is.measured <- conditions %in% measured
  if (length(unique(is.measured)) > 1) {
    cli::cli_abort(c(
      "Measured and predicted changes have no scale in common.",
      x = "Measured: {.val {conditions[is.measured]}}; predicted: {.val {conditions[!is.measured]}}.",
      i = "Draw them one by one."
    ), class = "celloquy_ArgumentError", argument = "conditions", call = rlang::caller_env())
  }
  if (!any(drawn$sure > 0)) {
    cli::cli_abort(c(
      "Nothing is known of how sure these changes are.",
      x = "There is no standard error and no interval above 0 of {.val {conditions}}.",
      i = "Choose conditions of several cells, or of a situation in which some were hidden."
    ), class = "celloquy_ArgumentError", argument = "conditions", call = rlang::caller_env())
  }
  drawn$effect <- ifelse(!drawn$found, "not found", ifelse(drawn$change > 0, "up", "down"))
  drawn$condition <- factor(drawn$condition, conditions)
  named <- do.call(rbind, lapply(split(drawn, drawn$condition), function(part) {
    part <- part[part$found, ]
    utils::head(part[order(-part$sure), ], n)
  }))
  ggplot2::ggplot(drawn, ggplot2::aes(.data$change, .data$sure, colour = .data$effect)) +
    ggplot2::geom_point(size = 0.8) +
    ggplot2::geom_text(
      ggplot2::aes(label = .data$gene),
      data = named, size = 2.8, vjust = -0.5, check_overlap = TRUE, show.legend = FALSE
    ) +
    ggplot2::scale_colour_manual(values = c(up = "#b2182b", down = "#2166ac", "not found" = "grey75")) +
    ggplot2::scale_x_continuous(expand = ggplot2::expansion(mult = 0.15)) +
    ggplot2::facet_wrap("condition", scales = "free") +
    ggplot2::labs(
      x = "change", y = if (is.measured[[1]]) "-log10 p" else "size of the change, in half intervals", colour = NULL
    ) +
    ggplot2::theme_classic() +
    ggplot2::theme(strip.background = ggplot2::element_blank())
}

# Changes with -log10 p of a normal test, by logarithms as p itself may be below what a number holds.
tested_changes <- function(change, error, condition) {
  z <- ifelse(error > 0, abs(change) / error, 0)
  logged <- pmin(stats::pnorm(z, lower.tail = FALSE, log.p = TRUE) + log(2), 0)
  found <- stats::p.adjust(exp(logged), "BH") < 0.05
  data.frame(gene = names(change), change = change, sure = -logged / log(10), found = found, condition = condition)
}

plot_doses <- function(response, perturbations, features) {
  features <- check_features(features, rownames(response$change), "the response", rlang::caller_env())
  perturbations <- check_conditions(
    perturbations %||% response$conditions$perturbation[[1]], response$conditions$perturbation
  )
  series <- function(part, layers) {
    own <- which(part$conditions$perturbation %in% perturbations)
    do.call(rbind, lapply(features, function(gene) {
      values <- lapply(layers, function(layer) unname(layer[gene, own]))
      data.frame(part$conditions[own, c("perturbation", "context", "dose")], gene = gene, values, row.names = NULL)
    }))
  }
  predicted <- series(response, response[c("change", "lower", "upper")])
  seen <- response$measured
  measured <- series(seen, list(
    change = seen$change, lower = seen$change - seen$error, upper = seen$change + seen$error
  ))
  measured <- measured[measured$context %in% predicted$context, ]
  bounded <- predicted[is.finite(predicted$lower), ]
  predicted$gene <- factor(predicted$gene, features)
  panels <- if (any(nzchar(predicted$context))) c("perturbation", "context") else "perturbation"
  range <- ggplot2::aes(ymin = .data$lower, ymax = .data$upper)
  ggplot2::ggplot(predicted, ggplot2::aes(.data$dose, .data$change, colour = .data$gene)) +
    ggplot2::geom_hline(yintercept = 0, colour = "grey80") +
    # Bars, as doses that were measured have no interval, which would tear a band.
    ggplot2::geom_linerange(range, data = bounded, alpha = 0.25, linewidth = 1.6) +
    ggplot2::geom_line() +
    ggplot2::geom_pointrange(range, data = measured, size = 0.3) +
    ggplot2::scale_x_log10() +
    ggplot2::facet_wrap(panels) +
    ggplot2::labs(x = "dose", y = "change", colour = NULL) +
    ggplot2::theme_classic() +
    ggplot2::theme(strip.background = ggplot2::element_blank())
}

plot_reliability <- function(held) {
  drawn <- data.frame(
    situation = held$conditions$situation, correlation = held$conditions$correlation,
    size = sqrt(colMeans(held$predicted^2))
  )
  means <- stats::aggregate(correlation ~ situation, drawn, mean)
  numbers <- table(drawn$situation)
  titled <- function(situation) folded(sprintf("%s (%d)", situation, numbers[situation]))
  drawn$title <- titled(drawn$situation)
  means$title <- titled(means$situation)
  ggplot2::ggplot(drawn, ggplot2::aes(.data$size, .data$correlation)) +
    ggplot2::geom_hline(yintercept = 0, colour = "grey80") +
    ggplot2::geom_hline(ggplot2::aes(yintercept = .data$correlation), data = means, linetype = 2) +
    ggplot2::geom_point(colour = "#1f5f8b") +
    ggplot2::facet_wrap("title", scales = "free_x") +
    ggplot2::labs(x = "size of the predicted change", y = "correlation with the measured change") +
    ggplot2::theme_classic() +
    ggplot2::theme(strip.background = ggplot2::element_blank())
}

# Titles of panels that are narrow.
folded <- function(titles) vapply(titles, function(one) paste(strwrap(one, 26), collapse = "\n"), "", USE.NAMES = FALSE)

check_conditions <- function(conditions, present, call = rlang::caller_env(2)) {
  absent <- setdiff(conditions, present)
  if (!is.character(conditions) || !length(conditions) || length(absent)) {
    cli::cli_abort(c(
      "Some of {.arg conditions} are not there.",
      x = if (length(absent)) "Not there: {.val {utils::head(absent, 5)}}." else found_value(conditions),
      i = "Pass some of {.val {utils::head(unique(present), 5)}}."
    ), class = "celloquy_ArgumentError", argument = "conditions", call = call)
  }
  unique(conditions)
}
