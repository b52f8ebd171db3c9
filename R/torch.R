# torch in an R process: loaded so that it computes on its own BLAS, and not at all where that would end the session.

# Load torch, or stop before it does harm.
load_torch <- function(call = rlang::caller_env()) {
  bridge <- import_bridge()
  if (is_torch_loaded(bridge)) {
    warn_slow_torch(bridge)
    return(invisible())
  }
  abort_openmp_clash(call)
  with_python(bridge$load_torch(), call = call)
  invisible()
}

# The same when users import celloquy themselves, before they call this package. reticulate calls this after each import
# within, too, and while it handles an error of an import: another error would then stop R for good. Where Python runs R
# instead, torch is the affair of Python's user.
load_torch_on_import <- function(...) {
  if (!session$importing) {
    session$importing <- TRUE
    on.exit(session$importing <- FALSE)
    try(if (!reticulate::py_to_r(import_bridge()$runs_r())) load_torch(), silent = TRUE)
  }
  invisible()
}

is_torch_loaded <- function(bridge) reticulate::py_to_r(bridge$is_torch_loaded())

warn_slow_torch <- function(bridge) {
  if (!reticulate::py_to_r(bridge$torch_uses_own_blas())) {
    cli::cli_warn(c(
      "torch was loaded before celloquy and may compute on R's own BLAS, many times slower.",
      i = "Restart R and call {.code library(celloquy)} and {.code reticulate::import(\"celloquy\")} first."
    ), .frequency = "once", .frequency_id = "celloquy_slow_torch")
  }
}

# Stop where loading torch would end the R session: a second Intel or LLVM OpenMP runtime in one process aborts it.
abort_openmp_clash <- function(call) {
  clash <- openmp_clash(openmp_loaded(), openmp_of_torch(reticulate::py_exe()))
  if (length(clash) && !nzchar(Sys.getenv("KMP_DUPLICATE_LIB_OK"))) {
    cli::cli_abort(c(
      "Loading torch now would end this R session: two OpenMP runtimes can't share a process.",
      x = "Loaded already: {.path {clash}}.",
      i = "Restart R and call {.code reticulate::import(\"torch\")} before other packages.",
      i = "If it happens at start-up, {.code Sys.setenv(KMP_DUPLICATE_LIB_OK = \"TRUE\")} lets both run, at your risk."
    ), class = "celloquy_python_error", call = call)
  }
  invisible()
}

# The loaded runtimes that a torch which brings `shipped` would clash with. GNU's OpenMP tolerates a neighbour.
openmp_clash <- function(loaded, shipped) {
  intel_or_llvm <- "^lib(iomp5|omp)([-._0-9a-z]*)[.](so|dylib|dll)([.0-9]*)$"
  strict <- function(files) files[grepl(intel_or_llvm, basename(files), ignore.case = TRUE)]
  shipped <- normalizePath(strict(shipped), mustWork = FALSE)
  loaded <- normalizePath(strict(loaded), mustWork = FALSE)
  if (length(shipped)) setdiff(loaded, shipped) else character()
}

# Files of OpenMP runtimes in this process; none where the system does not tell.
openmp_loaded <- function() {
  files <- character()
  if (file.exists("/proc/self/maps")) {
    files <- sub("^[^/]*", "", readLines("/proc/self/maps", warn = FALSE))
  } else if (nzchar(Sys.which("lsof"))) {
    files <- sub("^n", "", suppressWarnings(
      system2("lsof", c("-p", Sys.getpid(), "-Fn"), stdout = TRUE, stderr = FALSE)
    ))
  }
  unique(grep("/lib[a-z]*omp[^/]*$", files, value = TRUE))
}

# Files of OpenMP runtimes that torch would load with this Python: its own, or those of a conda environment.
openmp_of_torch <- function(python) {
  code <- "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s else '')"
  torch <- suppressWarnings(system2(python, c("-c", shQuote(code)), stdout = TRUE, stderr = FALSE))
  environment <- dirname(dirname(python))
  folders <- c(
    if (length(torch) && nzchar(torch[[1]])) file.path(dirname(torch[[1]]), c("lib", ".dylibs")),
    file.path(environment, "lib"),
    file.path(environment, "Library", "bin")
  )
  list.files(folders, pattern = "^lib[a-z]*omp.*[.](so|dylib|dll)", full.names = TRUE)
}
