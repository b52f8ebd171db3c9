#' celloquy: a cell language model for Seurat
#'
#' A cell is a token, a tissue is a sentence: the model reads the raw counts of all cells of a sample together.
#' [RunCelloquy()] embeds the cells of a Seurat object; [InstallCelloquy()] sets up the Python that the model runs in,
#' and [CelloquySitrep()] says what is there and what is missing.
#'
#' @keywords internal
#' @importFrom rlang %||%
#' @importClassesFrom Matrix CsparseMatrix dgCMatrix
"_PACKAGE"

.onLoad <- function(libname, pkgname) {
  # A wish, not an action: reticulate fetches these only for users who have neither chosen a Python nor run
  # InstallCelloquy(), and only when Python is first used. Loading must work wherever it cannot be granted.
  source <- python_source()
  wish <- if (dir.exists(source)) paste0("celloquy @ file://", utils::URLencode(source)) else source
  try(reticulate::py_require(wish, python_version = ">=3.11"), silent = TRUE)
  # Also for those who import celloquy themselves, before any function of ours is called.
  setHook("reticulate::celloquy::load", function(...) try(load_torch(), silent = TRUE))
}
