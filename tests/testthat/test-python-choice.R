# Run R code in a process with empty environments of these names to choose from, and none chosen.
choose <- function(code, environments = character(), env = character()) {
  home <- withr::local_tempdir()
  real <- normalizePath(reticulate::py_exe())
  for (name in environments) system2(real, c("-m", "venv", "--without-pip", file.path(home, name)))
  result <- run_r(
    c("home <- Sys.getenv('WORKON_HOME')", "root <- function() basename(environment_root(python_choice()$path))", code),
    env = c(
      "RETICULATE_PYTHON=", "RETICULATE_PYTHON_ENV=", "RETICULATE_USE_MANAGED_VENV=", "VIRTUAL_ENV=",
      paste0("WORKON_HOME=", home), env
    )
  )
  if (result$status != 0) stop(paste(result$err, collapse = "\n"))
  result$out
}

test_that("what the user chose wins over r-celloquy, r-celloquy over what reticulate would take", {
  skip_without_python()
  skip_on_os("windows")
  found <- choose(c(
    "attach(asNamespace('celloquy')); Sys.unsetenv(c('RETICULATE_PYTHON', 'RETICULATE_PYTHON_ENV', 'VIRTUAL_ENV'))",
    "cat(root(), '')",
    "unlink(file.path(home, 'r-celloquy'), recursive = TRUE); cat(root(), '')",
    "Sys.setenv(VIRTUAL_ENV = file.path(home, 'activated')); cat(root(), '')",
    "reticulate::use_virtualenv('used'); cat(root(), '')",
    "Sys.setenv(RETICULATE_PYTHON = file.path(home, 'named/bin/python')); cat(root())"
  ), c("r-celloquy", "r-reticulate", "activated", "used", "named"))
  expect_identical(found, "r-celloquy r-reticulate activated used named")
})

test_that("r-celloquy is taken also where another module is imported first", {
  skip_without_python()
  skip_on_os("windows")
  found <- choose(c(
    "Sys.unsetenv(c('RETICULATE_PYTHON', 'RETICULATE_PYTHON_ENV', 'VIRTUAL_ENV'))",
    "invisible(reticulate::import('json'))",
    "cat(basename(dirname(dirname(reticulate::py_exe()))))"
  ), c("r-celloquy", "r-reticulate"))
  expect_identical(found, "r-celloquy")
})

test_that("with nothing to choose, reticulate is asked to fetch what celloquy needs, and nothing is fetched yet", {
  found <- choose(c(
    "Sys.unsetenv(c('RETICULATE_PYTHON', 'RETICULATE_PYTHON_ENV', 'VIRTUAL_ENV'))",
    "asked <- reticulate::py_require()",
    "stopifnot(is.null(celloquy:::python_choice()$path), !reticulate::py_available())",
    "cat(asked$packages, asked$python_version, sep = '\\n')"
  ))
  expect_match(found[grepl("celloquy", found)], "^celloquy @ file://.*/python$")
  expect_true(">=3.11" %in% found)
})

test_that("the steps lead to a Python that R takes", {
  python <- function(...) utils::modifyList(list(path = "/e/bin/python", why = "", started = FALSE), list(...))
  expect_identical(install_steps(python()), "Run {.run celloquy::InstallCelloquy()}.")
  expect_identical(install_steps(python(started = TRUE)), "Run {.run celloquy::InstallCelloquy()} and restart R.")
  # A system's own Python takes no packages.
  expect_match(install_steps(python(why = "RETICULATE_PYTHON")), "^To give celloquy .* unset .*RETICULATE_PYTHON")
  expect_match(install_steps(python(why = "use_python() function")), "leave out .*use_python")
  root <- withr::local_tempdir()
  file.create(file.path(root, "pyvenv.cfg"))
  steps <- install_steps(python(path = file.path(root, "bin", "python"), why = "VIRTUAL_ENV"))
  expect_match(steps[[1]], sprintf("InstallCelloquy(method = \"virtualenv\", envname = \"%s\")", root), fixed = TRUE)
  expect_match(steps[[2]], "unset .*VIRTUAL_ENV")
})

test_that("a folder called celloquy does not pass for the package", {
  skip_without_python()
  bare <- normalizePath(reticulate::py_exe())
  skip_if_not(python_facts(bare)$celloquy == "", "a Python without celloquy")
  folder <- withr::local_tempdir()
  dir.create(file.path(folder, "celloquy"))
  result <- run_r(
    c(sprintf("setwd(%s)", deparse(folder)), "RunCelloquy(SeuratObject::pbmc_small)"),
    env = paste0("RETICULATE_PYTHON=", bare)
  )
  expect_match(paste(result$err, collapse = "\n"), "has no package celloquy")
})

test_that("a Python that is named but not there is said, with the variable to unset", {
  result <- run_r("RunCelloquy(SeuratObject::pbmc_small)", env = "RETICULATE_PYTHON=/no/such/python")
  message <- paste(result$err, collapse = " ")
  expect_match(message, "(/no/such/python) does not exist", fixed = TRUE)
  expect_match(message, "unset the +environment +variable `RETICULATE_PYTHON`")
})
