#' celloquy: a cell language model for Seurat
#'
#' A cell is a token, a tissue is a sentence: the model reads the raw counts of all cells of a sample together.
#' [RunCelloquy()] embeds the cells of a Seurat object; [InstallCelloquy()] sets up the Python that the model runs in,
#' and [CelloquySitrep()] says what is installed and what is missing.
#'
#' @keywords internal
#' @useDynLib celloquy, .registration = TRUE
#' @importFrom rlang %||% .data
#' @importClassesFrom Matrix CsparseMatrix dgCMatrix
"_PACKAGE"

.onLoad <- function(libname, pkgname) {
  # This only declares a requirement. Where reticulate already runs a Python of its own it would install the package at
  # once, which is not for loading to do.
  if (!reticulate::py_available()) {
    require_python_package()
  }
  # Lets reticulate look for an environment called r-celloquy whatever module is imported first.
  reticulate::import("celloquy.bridge", delay_load = list(environment = "r-celloquy"))
  setHook("reticulate::celloquy::load", load_torch_on_import)
}
