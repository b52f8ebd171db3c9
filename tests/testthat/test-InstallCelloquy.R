test_that("a Python that can makes the environment; then come torch, in the build asked for, and celloquy", {
  calls <- list()
  local_mocked_bindings(
    py_install = function(packages, envname, ..., pip_options = character()) {
      calls[[length(calls) + 1]] <<- list(packages, envname, pip_options)
    },
    virtualenv_starter = function(version, all) data.frame(path = c("/newest/python3", "/usr/bin/python3")),
    virtualenv_create = function(envname, python) calls[[1]] <<- list("environment", envname, python),
    .package = "reticulate"
  )
  local_mocked_bindings(makes_environments = function(python) python == "/usr/bin/python3")
  expect_message(expect_identical(InstallCelloquy(envname = "some-env"), "some-env"), "installed in \"some-env\"")
  expect_identical(vapply(calls, `[[`, "", 2), rep("some-env", 3))
  expect_identical(calls[[1]][[3]], "/usr/bin/python3")
  expect_identical(calls[[2]][[1]], "torch")
  expect_true(file.exists(file.path(calls[[3]][[1]], "pyproject.toml")))
})

test_that("the build of torch is checked and looked for in torch's own index", {
  skip_on_os("mac")
  expect_identical(torch_pip_options("cpu"), "--extra-index-url=https://download.pytorch.org/whl/cpu")
  expect_identical(torch_pip_options("cu128"), "--extra-index-url=https://download.pytorch.org/whl/cu128")
  expect_identical(torch_pip_options("cuda"), character())
  expect_error(InstallCelloquy(torch = "tpu"), "Found: a string \"tpu\"", fixed = TRUE)
})

test_that("without a Python that can make environments the ways to get one are told", {
  pythons <- character()
  local_mocked_bindings(virtualenv_starter = function(version, all) data.frame(path = pythons), .package = "reticulate")
  local_mocked_bindings(has_condaenv = function(envname) FALSE)
  expect_error(InstallCelloquy(envname = "no-env"), "install_python", class = "celloquy_python_error")
  # Debian's Python without its package python3-venv.
  pythons <- withr::local_tempfile(lines = c("#!/bin/sh", "exit 1"))
  Sys.chmod(pythons, "755")
  expect_error(InstallCelloquy(envname = "no-env"), "python3-venv", class = "celloquy_python_error")
})

test_that("what is left to do for R to take the new environment is said", {
  python <- list(path = "/other/bin/python", why = "RETICULATE_PYTHON", started = FALSE, failure = NULL)
  expect_match(how_to_take("r-celloquy", "auto", python), "unset .*RETICULATE_PYTHON")
  python$why <- "import(\"numpy\")"
  expect_null(how_to_take("r-celloquy", "auto", python))
  expect_match(how_to_take("/my/env", "auto", python), "use_virtualenv(\"/my/env\")", fixed = TRUE)
  expect_match(how_to_take("mine", "conda", python), "use_condaenv(\"mine\")", fixed = TRUE)
})
