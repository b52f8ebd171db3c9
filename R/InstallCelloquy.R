#' Install the Python part of celloquy
#'
#' Makes a Python environment with the model, torch and scanpy in it; about 2 GB with `torch = "cpu"`. celloquy finds
#' an environment called `"r-celloquy"` by itself. Needed once; restart R afterwards if Python was already in use.
#'
#' Nothing needs to be installed by hand where a Python with celloquy is chosen already (`RETICULATE_PYTHON`,
#' [reticulate::use_virtualenv()], [reticulate::use_condaenv()]); such a choice wins over `"r-celloquy"`. With no choice
#' and no installation at all, reticulate fetches a temporary Python with celloquy when it is first used: on Linux with
#' CUDA, several GB.
#'
#' @param method `"virtualenv"`, `"conda"`, or `"auto"`: the kind of an environment that exists, else a virtualenv.
#' @param envname Name or path of the environment.
#' @param torch `"cpu"`, `"cuda"`, or a CUDA version as torch's index of packages spells it, such as `"cu128"`.
#' @param python.version Version of Python for a new environment.
#' @param source Source of the Python package: a path, URL or requirement as `pip install` takes it. By default the copy
#'   in this R package, so that both have the same version.
#' @param ... Further arguments for [reticulate::py_install()].
#'
#' @return The name of the environment, invisibly.
#' @seealso [CelloquySitrep()]
#' @examples
#' \dontrun{
#' InstallCelloquy()
#' InstallCelloquy(torch = "cuda")
#' }
#' @export
InstallCelloquy <- function(method = c("auto", "virtualenv", "conda"), envname = "r-celloquy", torch = "cpu",
                            python.version = ">=3.11", source = NULL, ...) {
  method <- choice(rlang::arg_match(method))
  torch_options <- torch_pip_options(torch)
  source <- source %||% python_source()
  if (method == "auto") {
    method <- if (!reticulate::virtualenv_exists(envname) && has_condaenv(envname)) "conda" else "virtualenv"
  }
  if (method == "virtualenv" && !reticulate::virtualenv_exists(envname)) {
    reticulate::virtualenv_create(envname, python = starter_python(python.version))
  }
  install <- function(packages, ...) {
    reticulate::py_install(packages, envname, method = method, python_version = python.version, pip = TRUE, ...)
  }
  # torch first, because the package's requirements do not say which of its builds to take.
  install("torch", pip_options = torch_options, ...)
  install(source, ...)
  python <- python_choice()
  taken <- !is.null(python$path) && basename(environment_root(python$path)) == basename(envname)
  cli::cli_inform(c(
    v = "The Python part of celloquy is installed in {.val {envname}}.",
    i = if (!taken) how_to_take(envname, method, python),
    i = if (python$started) "Restart R: Python is in use already."
  ))
  invisible(envname)
}

# The step after which R takes an environment, if one is needed.
how_to_take <- function(envname, method, python) {
  if (!is.null(python$failure) || is_forced(python$why)) {
    paste0("R takes another Python: to use this one, ", how_to_unforce(python$why), ".")
  } else if (basename(envname) != "r-celloquy") {
    use <- if (method == "conda") "use_condaenv" else "use_virtualenv"
    sprintf("To use it, begin a session with {.code reticulate::%s(\"%s\")}.", use, literal(envname))
  }
}

# pip's options that lead to the right build of torch; others of its requirements still come from the usual index.
torch_pip_options <- function(torch, call = rlang::caller_env()) {
  if (!rlang::is_string(torch) || !grepl("^(cpu|cuda|cu[0-9]+)$", torch)) {
    cli::cli_abort(c(
      "{.arg torch} must be {.val cpu}, {.val cuda}, or a CUDA version such as {.val cu128}.",
      x = "Found: {.obj_type_friendly {torch}}{if (rlang::is_string(torch)) paste0(' \"', torch, '\"')}."
    ), class = "celloquy_ArgumentError", call = call)
  }
  # The usual index holds CUDA builds for Linux and the only builds there are for macOS.
  if (torch == "cuda" || Sys.info()[["sysname"]] == "Darwin") {
    return(character())
  }
  paste0("--extra-index-url=https://download.pytorch.org/whl/", torch)
}

# The Python sources that came with this R package; by name from the index if it was installed without them.
python_source <- function() {
  carried <- system.file("python", package = "celloquy")
  if (file.exists(file.path(carried, "pyproject.toml")) && dir.exists(file.path(carried, "python", "celloquy"))) {
    carried
  } else {
    "celloquy"
  }
}

has_condaenv <- function(envname) {
  tryCatch(reticulate::condaenv_exists(envname), error = function(error) FALSE)
}

# The newest Python that can make environments: that of Debian can't without its package python3-venv, and reticulate
# would take it all the same.
starter_python <- function(version, call = rlang::caller_env()) {
  found <- reticulate::virtualenv_starter(version, all = TRUE)$path
  starter <- Find(makes_environments, found)
  if (is.null(starter)) {
    cli::cli_abort(c(
      "There is no Python {version} to make an environment with.",
      x = if (length(found)) "Without the modules venv and ensurepip: {.path {found}}.",
      i = if (length(found)) "On Debian and Ubuntu they come with {.code apt install python3-venv}.",
      i = "Get one with {.code reticulate::install_python(\"3.12:latest\")}, or from {.url https://www.python.org}.",
      i = "Or use {.code InstallCelloquy(method = \"conda\")}, after {.fn reticulate::install_miniconda}."
    ), class = "celloquy_python_error", call = call)
  }
  starter
}

makes_environments <- function(python) {
  suppressWarnings(system2(python, c("-c", shQuote("import venv, ensurepip")), stdout = FALSE, stderr = FALSE)) == 0
}
