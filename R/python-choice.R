# The Python that reticulate takes, the reason, and the way to install celloquy in it.

# Tell reticulate what celloquy needs. It fetches that only for users who have neither chosen a Python nor run
# InstallCelloquy(), and when Python is first used; for a Python that reticulate fetched before, at once.
require_python_package <- function() {
  source <- python_source()
  wish <- if (dir.exists(source)) paste0("celloquy @ file://", utils::URLencode(source)) else source
  # Where it can't be granted, the import that follows says why.
  try(suppressWarnings(reticulate::py_require(wish, python_version = ">=3.11")), silent = TRUE)
}

# The Python that is, or would be, used, and the reason. Python is never started here, and never fetched.
python_choice <- function() {
  started <- reticulate::py_available()
  managed <- Sys.getenv("RETICULATE_USE_MANAGED_VENV", unset = NA)
  config <- if (started) {
    reticulate::py_config()
  } else if (Sys.getenv("RETICULATE_PYTHON") != "managed") {
    Sys.setenv(RETICULATE_USE_MANAGED_VENV = "false")
    on.exit(if (is.na(managed)) {
      Sys.unsetenv("RETICULATE_USE_MANAGED_VENV")
    } else {
      Sys.setenv(RETICULATE_USE_MANAGED_VENV = managed)
    })
    tryCatch(reticulate::py_discover_config("celloquy"), error = identity)
  }
  if (inherits(config, "error")) {
    # Only a variable can name a Python that is not there.
    why <- intersect(c("RETICULATE_PYTHON", "RETICULATE_PYTHON_ENV"), names(Sys.getenv()))[1]
    return(list(path = NULL, why = why, started = started, failure = conditionMessage(config)))
  }
  why <- config$forced %||% ""
  # A Python that merely lies on the PATH is no choice: reticulate passes it by and fetches one of its own.
  allowed <- !tolower(managed) %in% c("false", "0", "no")
  fetched <- allowed && why %in% c("", "PATH") && !is_reticulates_own(config$python)
  chosen <- !is.null(config) && (started || !fetched)
  list(path = if (chosen) config$python, why = if (chosen) why, started = started, failure = NULL)
}

# The environment "r-reticulate", which reticulate prefers to fetching one, without a word on why.
is_reticulates_own <- function(python) {
  !is.null(python) && basename(environment_root(python)) == "r-reticulate"
}

environment_root <- function(python) dirname(dirname(python))

# The steps that install celloquy in the Python that R takes, as lines for cli.
install_steps <- function(python) {
  if (!is_forced(python$why)) {
    # An environment called r-celloquy is found before any other.
    return(paste0("Run {.run celloquy::InstallCelloquy()}", if (python$started) " and restart R", "."))
  }
  root <- environment_root(python$path %||% "/none/bin/python")
  method <- if (file.exists(file.path(root, "pyvenv.cfg"))) {
    "virtualenv"
  } else if (dir.exists(file.path(root, "conda-meta"))) {
    "conda"
  }
  add <- sprintf("celloquy::InstallCelloquy(method = \"%s\", envname = \"%s\")", method, literal(root))
  c(
    if (length(add)) {
      sprintf("To add celloquy to it, run {.code %s}%s.", add, if (python$started) " and restart R" else "")
    },
    sprintf(
      "%s one of its own, run {.run celloquy::InstallCelloquy()}, %s, and restart R.",
      if (length(add)) "Or, to give it" else "To give celloquy", how_to_unforce(python$why)
    )
  )
}

# Whether Python was chosen in a way that outranks an environment called r-celloquy.
is_forced <- function(why) {
  !is.null(why) && !is.na(why) && !why %in% c("", "PATH") && !startsWith(why, "import(")
}

how_to_unforce <- function(why) {
  if (grepl("^[A-Z_]+$", why)) {
    sprintf("unset the environment variable {.envvar %s}", why)
  } else if (startsWith(why, "use_python")) {
    "leave out {.fn reticulate::use_python} and its like"
  } else {
    sprintf("undo this choice (%s)", literal(why))
  }
}
