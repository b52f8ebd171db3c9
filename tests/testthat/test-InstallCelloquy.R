test_that("torch comes first, in the build asked for, then celloquy from the copy in this package", {
  calls <- list()
  local_mocked_bindings(
    py_install = function(packages, envname, ..., pip_options = character()) {
      calls[[length(calls) + 1]] <<- list(packages, envname, pip_options)
    },
    virtualenv_starter = function(version) "/usr/bin/python3",
    .package = "reticulate"
  )
  expect_message(expect_identical(InstallCelloquy(envname = "some-env"), "some-env"), "installed in \"some-env\"")
  expect_identical(vapply(calls, `[[`, "", 2), c("some-env", "some-env"))
  expect_identical(calls[[1]][[1]], "torch")
  expect_true(file.exists(file.path(calls[[2]][[1]], "pyproject.toml")))
})

test_that("the build of torch is checked and looked for in torch's own index", {
  skip_on_os("mac")
  expect_identical(torch_pip_options("cpu"), "--extra-index-url=https://download.pytorch.org/whl/cpu")
  expect_identical(torch_pip_options("cu128"), "--extra-index-url=https://download.pytorch.org/whl/cu128")
  expect_identical(torch_pip_options("cuda"), character())
  expect_error(InstallCelloquy(torch = "tpu"), "Found: a string \"tpu\"", fixed = TRUE)
})

test_that("without any Python the ways to get one are told", {
  local_mocked_bindings(virtualenv_starter = function(version) NULL, .package = "reticulate")
  expect_error(InstallCelloquy(), "install_python", class = "celloquy_python_error")
})

test_that("what is left to do for R to take the new environment is said", {
  python <- list(path = "/other/bin/python", why = "RETICULATE_PYTHON", started = FALSE, failure = NULL)
  expect_match(how_to_take("r-celloquy", "auto", python), "unset .*RETICULATE_PYTHON")
  python$why <- "import(\"numpy\")"
  expect_null(how_to_take("r-celloquy", "auto", python))
  expect_match(how_to_take("/my/env", "auto", python), "use_virtualenv(\"/my/env\")", fixed = TRUE)
  expect_match(how_to_take("mine", "conda", python), "use_condaenv(\"mine\")", fixed = TRUE)
})
