# The one door to Python: the module celloquy.bridge, which has all that R calls.

oldest_python_package <- "0.2.0"

# Whether celloquy is being imported by this package, which then sees to torch itself.
session <- new.env(parent = emptyenv())
session$importing <- FALSE

import_bridge <- function() {
  importing <- session$importing
  session$importing <- TRUE
  on.exit(session$importing <- importing)
  reticulate::import("celloquy.bridge", convert = FALSE)
}

# Return the bridge, with torch loaded where the call needs it, or stop with the one thing to do about it.
python_bridge <- function(call = rlang::caller_env(), torch = FALSE) {
  python <- python_choice()
  if (is.null(python$path) && is.null(python$failure)) {
    cli::cli_inform(c(
      i = "No Python is chosen: reticulate fetches one, several GB on Linux.",
      i = "{.run celloquy::InstallCelloquy()} makes a smaller one that stays."
    ), .frequency = "once", .frequency_id = "celloquy_fetching")
  }
  require_python_package()
  # A folder called celloquy in the working directory passes for a package, but has no bridge.
  bridge <- tryCatch(import_bridge(), error = function(error) abort_no_python(error, call))
  version <- reticulate::py_to_r(bridge$version())
  if (numeric_version(version) < oldest_python_package) {
    cli::cli_abort(c(
      "The Python package celloquy is too old for this R package.",
      x = "Found version {version} in {.path {reticulate::py_exe()}}; at least {oldest_python_package} is needed.",
      as_hints(install_steps(python_choice()))
    ), class = "celloquy_python_error", call = call)
  }
  if (torch) {
    load_torch(call)
    bridge$stop_threads()
  } else {
    # It would be too late when users import celloquy themselves later.
    load_torch_on_import()
  }
  bridge
}

abort_no_python <- function(error, call) {
  python <- python_choice()
  lacks_package <- inherits(error, c("python.builtin.ModuleNotFoundError", "python.builtin.AttributeError"))
  cli::cli_abort(c(
    if (lacks_package) "This Python has no package celloquy." else "No Python was found that celloquy can use.",
    x = if (lacks_package) {
      "Python in use: {.path {reticulate::py_exe()}}{if (nzchar(python$why)) paste0(' (', python$why, ')')}."
    } else {
      literal(first_line(conditionMessage(error)))
    },
    as_hints(install_steps(python)),
    i = "{.run celloquy::CelloquySitrep()} shows what was found and why."
  ), class = "celloquy_python_error", call = call)
}

as_hints <- function(lines) stats::setNames(lines, rep("i", length(lines)))
