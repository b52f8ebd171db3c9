# Everything that knows reticulate: finding Python, one-copy transfer, errors, warnings and interrupts.

oldest_python_package <- "0.1.0"

# Return the Python module celloquy, or stop with the one thing to do about it.
celloquy_python <- function(call = rlang::caller_env(), torch = TRUE) {
  python <- python_choice()
  if (is.null(python$path) && is.null(python$failure)) {
    cli::cli_inform(c(
      i = "No Python is chosen: reticulate fetches one, several GB on Linux.",
      i = "{.run celloquy::InstallCelloquy()} makes a smaller one that stays."
    ), .frequency = "once", .frequency_id = "celloquy_fetching")
  }
  require_python_package()
  module <- tryCatch(
    {
      module <- reticulate::import("celloquy", convert = FALSE)
      # A folder called celloquy in the working directory passes for a package, but has no version.
      version <- reticulate::py_to_r(module$`__version__`)
      module
    },
    error = function(error) abort_no_python(error, call)
  )
  if (numeric_version(version) < oldest_python_package) {
    cli::cli_abort(c(
      "The Python package celloquy is too old for this R package.",
      x = "Found version {version} in {.path {reticulate::py_exe()}}; at least {oldest_python_package} is needed.",
      as_hints(install_steps(python_choice()))
    ), class = "celloquy_python_error", call = call)
  }
  if (!torch) {
    return(module)
  }
  load_torch(call)
  # tqdm redraws stalled bars from a thread of its own; where reticulate sends Python's output to the R console (as in
  # RStudio), that thread would call R, which only the main thread may.
  reticulate::py_set_attr(reticulate::import("tqdm", convert = FALSE)$tqdm, "monitor_interval", 0L)
  module
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

# Run code that calls Python on the counts that the user knows as `subject`. Its errors become R errors, its warnings
# R warnings; an interrupt passes as it is.
with_python <- function(code, subject = "The matrix", call = rlang::caller_env()) {
  warnings <- reticulate::import("warnings", convert = FALSE)
  recorder <- warnings$catch_warnings(record = TRUE)
  recorded <- recorder$`__enter__`()
  warnings$simplefilter("always")
  result <- tryCatch(
    force(code),
    celloquy.errors.CelloquyError = function(error) abort_celloquy(error, subject, call),
    python.builtin.Exception = function(error) abort_python(error, call),
    finally = recorder$`__exit__`(NULL, NULL, NULL)
  )
  for (warning in reticulate::iterate(recorded)) {
    # Only ours are for the user; those of the libraries below are for us.
    if (startsWith(reticulate::py_to_r(warning$category$`__module__`), "celloquy")) {
      lines <- strsplit(reticulate::py_str(warning$message), "\n", fixed = TRUE)[[1]]
      cli::cli_warn(bullets("{lines[[%d]]}", lines), call = call)
    }
  }
  result
}

# A problem that celloquy itself recognised: what, found, expected, remedy.
abort_celloquy <- function(error, subject, call) {
  class <- sub(".*[.]", "", class(error)[[1]])
  say <- function(name) in_words_of_r(error[[name]] %||% "", subject)
  problem <- say("problem")
  found <- say("found")
  expected <- say("expected")
  remedy <- sentence(say("remedy"))
  if (grepl("adata|celloquy[.]|cq[.]", remedy)) {
    # What to do to an AnnData helps no one here.
    remedy <- switch(class,
      CountsError = "Pass the raw counts, in a Seurat object by naming their `layer` (not `data`, not `scale.data`).",
      GenesError = "Name the features with gene symbols or Ensembl ids.",
      remedy
    )
  }
  cli::cli_abort(c(
    "{problem}",
    x = if (nzchar(found)) "Found: {found}.",
    "*" = if (nzchar(expected)) "Expected: {expected}.",
    i = "{remedy}"
  ), class = c(paste0("celloquy_", class), "celloquy_error"), call = call)
}

# What Python says of its arguments and of AnnData, said of R's.
in_words_of_r <- function(text, subject) {
  words <- c(
    "X of adata" = subject, "adata.X" = subject, "batch_size" = "batch.size", "`out`" = "`model.dir`",
    "`seed`" = "`seed.use`", "reference.obs" = "the reference's metadata", "`label_key`" = "`label`",
    "`genes`" = "`features`", "cq.denoise()" = "DenoiseExpression()", "species=\"auto\"" = "species = \"auto\"",
    "device='auto'" = "device = \"auto\"", ", or None" = ", or NULL"
  )
  for (word in names(words)) {
    text <- gsub(word, words[[word]], text, fixed = TRUE)
  }
  text
}

sentence <- function(text) {
  sub("^([a-z])", "\\U\\1", text, perl = TRUE)
}

abort_python <- function(error, call) {
  class <- sub(".*[.]", "", class(error)[[1]])
  cli::cli_abort(c(
    "The Python side of celloquy failed.",
    x = "{class}: {reticulate::py_str(attr(error, 'py_object'))}",
    i = "The object is unchanged. {.run reticulate::py_last_error()} shows where it happened."
  ), class = "celloquy_python_error", call = call)
}

# A cells × genes AnnData on the counts of a genes × cells matrix.
#
# The columns of R's genes × cells are the rows of Python's cells × genes, so transposing on the Python side is free
# and the counts are copied once.
as_anndata <- function(counts, obs = list(), spatial = NULL) {
  anndata <- reticulate::import("anndata", convert = FALSE)
  pandas <- reticulate::import("pandas", convert = FALSE)
  cells <- reticulate::r_to_py(as.list(colnames(counts)))
  adata <- anndata$AnnData(
    X = reticulate::r_to_py(counts)$T,
    obs = pandas$DataFrame(index = cells),
    var = pandas$DataFrame(index = reticulate::r_to_py(as.list(rownames(counts))))
  )
  for (name in names(obs)) {
    reticulate::py_set_item(adata$obs, name, as_categorical(obs[[name]], pandas))
  }
  if (!is.null(spatial)) {
    reticulate::py_set_item(adata$obsm, "spatial", spatial)
  }
  adata
}

# Codes and levels cross apart: as text, a missing value would arrive as the level "NA".
as_categorical <- function(column, pandas) {
  column <- as.factor(column)
  codes <- ifelse(is.na(column), 0L, as.integer(column)) - 1L
  # An array, as a vector of one value would arrive as a number.
  pandas$Categorical$from_codes(
    codes = as.array(codes), categories = as.list(levels(column)), ordered = is.ordered(column)
  )
}

# Load torch so that it lives well in an R process, or stop before it does harm.
load_torch <- function(call = rlang::caller_env()) {
  if ("torch" %in% python_modules()) {
    warn_slow_torch()
    return(invisible())
  }
  abort_openmp_clash(call)
  # On Linux the BLAS that R is linked to stands before torch's own in the search for symbols: matrix products would
  # run on it, 16 times slower with the reference BLAS, and not to the same bit. RTLD_DEEPBIND turns the order round.
  reticulate::py_run_string("
import os, sys
flags = sys.getdlopenflags()
sys.setdlopenflags(flags | getattr(os, 'RTLD_DEEPBIND', 0))
try:
    import torch
finally:
    sys.setdlopenflags(flags)
torch.loaded_beside_r = True
", local = TRUE)
  invisible()
}

warn_slow_torch <- function() {
  ours <- reticulate::py_eval(
    "hasattr(__import__('torch'), 'loaded_beside_r') or not hasattr(__import__('os'), 'RTLD_DEEPBIND')"
  )
  if (!ours) {
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

python_modules <- function() {
  reticulate::py_eval("list(__import__('sys').modules)")
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

bullets <- function(template, lines) {
  stats::setNames(sprintf(template, seq_along(lines)), c("", rep("i", length(lines) - 1)))
}

first_line <- function(text) strsplit(text, "\n", fixed = TRUE)[[1]][[1]]

# Text that cli takes as it is: what it would read as code are doubled braces to it.
literal <- function(text) gsub("([{}])", "\\1\\1", text)
