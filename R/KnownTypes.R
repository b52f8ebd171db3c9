#' Cell types that are named without a reference
#'
#' @return A data frame with a row for each type that [AnnotateCells()] tells apart without a reference: its `name`, and
#'   `cell_ontology`, its ids in the Cell Ontology.
#' @examplesIf celloquy:::examples_can_run()
#' head(KnownTypes())
#' @export
KnownTypes <- function() {
  as.data.frame(reticulate::py_to_r(python_bridge(rlang::current_env(), torch = TRUE)$known_types()))
}
