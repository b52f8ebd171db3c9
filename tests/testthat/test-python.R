test_that("factors keep their levels and missing values on the way to Python", {
  skip_without_python()
  column <- factor(c("b", NA, "a", "NA"), levels = c("b", "unused", "NA", "a"))
  categorical <- as_anndata(pbmc_counts()[, 1:4], list(column = column))$obs[["column"]]$cat
  expect_identical(c(reticulate::py_to_r(categorical$codes$to_numpy())), c(0L, -1L, 3L, 2L))
  expect_identical(reticulate::py_to_r(categorical$categories$tolist()), c("b", "unused", "NA", "a"))
  one <- as_anndata(pbmc_counts()[, 1, drop = FALSE], list(column = "one"))$obs[["column"]]$cat
  expect_identical(as.vector(reticulate::py_to_r(one$codes$to_numpy())), 0L)
})

test_that("counts cross transposed, without a change of their order in memory", {
  skip_without_python()
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
  adata <- as_anndata(counts)
  expect_identical(reticulate::py_to_r(adata$X$format), "csr")
  expect_identical(unlist(reticulate::py_to_r(adata$shape)), rev(dim(counts)))
  expect_identical(c(reticulate::py_to_r(adata$X$data)), counts@x)
  expect_identical(c(reticulate::py_to_r(adata$X$indptr)), counts@p)
  expect_identical(reticulate::py_to_r(adata$obs_names$tolist()), colnames(counts))
})

test_that("an error of celloquy becomes one R error: problem, found, expected, remedy", {
  skip_without_python()
  raise <- function() {
    with_python(reticulate::py_run_string(
      "from celloquy.errors import CountsError\nraise CountsError('A {b}.', found='c', expected='d', remedy='do e.')"
    ), call = NULL)
  }
  expect_error(raise(), class = "celloquy_CountsError")
  expect_error(raise(), class = "celloquy_error")
  expect_snapshot(raise(), error = TRUE)
})

test_that("any other Python error is named", {
  skip_without_python()
  expect_error(with_python(reticulate::py_run_string("1 / 0")), "ZeroDivisionError", class = "celloquy_python_error")
})

test_that("warnings of celloquy become R warnings; those of other packages are kept back", {
  skip_without_python()
  code <- "
import warnings
class Low(UserWarning):
    pass
Low.__module__ = 'celloquy.errors'
warnings.warn('Few {genes}.\\nFix: more.', Low)
warnings.warn('old', DeprecationWarning)
"
  expect_warning(with_python(reticulate::py_run_string(code)), "Few {genes}.", fixed = TRUE)
  expect_silent(with_python(reticulate::py_run_string("import warnings; warnings.warn('old', FutureWarning)")))
})

test_that("a Python without celloquy is one error with the command to run", {
  skip_without_python()
  # The one that the environment was made from.
  bare <- normalizePath(reticulate::py_exe())
  lacks <- suppressWarnings(system2(bare, c("-c", shQuote("import celloquy")), stdout = FALSE, stderr = FALSE)) != 0
  skip_if_not(lacks, "a Python without celloquy")
  result <- run_r("RunCelloquy(SeuratObject::pbmc_small)", env = paste0("RETICULATE_PYTHON=", bare))
  message <- paste(result$err, collapse = "\n")
  expect_false(result$status == 0)
  expect_match(message, "InstallCelloquy()", fixed = TRUE)
  expect_match(message, "has no package celloquy")
})

test_that("loading and looking around need no Python", {
  result <- run_r(
    c(
      # Set but empty it would be taken for a Python that is not there.
      "Sys.unsetenv('RETICULATE_PYTHON')",
      "sitrep <- CelloquySitrep()",
      "stopifnot(is.null(sitrep$python$path), grepl('No Python is chosen', sitrep$todo[[1]]))"
    ),
    env = c(
      "RETICULATE_PYTHON=", "RETICULATE_USE_MANAGED_VENV=", "PATH=/usr/bin:/bin", "VIRTUAL_ENV=",
      paste0("WORKON_HOME=", tempfile())
    )
  )
  expect_identical(result$status, 0L, info = paste(result$err, collapse = "\n"))
})

test_that("only a second Intel or LLVM OpenMP clashes", {
  expect_identical(openmp_clash("/usr/lib/libgomp.so.1", "/torch/lib/libgomp-a1.so.1"), character())
  expect_identical(openmp_clash("/mkl/libiomp5.so", "/torch/lib/libgomp-a1.so.1"), character())
  expect_identical(openmp_clash("/usr/lib/libgomp.so.1", "/torch/lib/libiomp5.so"), character())
  expect_identical(openmp_clash("/torch/lib/libiomp5.so", "/torch/lib/libiomp5.so"), character())
  expect_identical(openmp_clash("/mkl/libiomp5.so", "/torch/lib/libiomp5.so"), "/mkl/libiomp5.so")
  expect_identical(openmp_clash("/r/libomp.dylib", "/torch/.dylibs/libomp.dylib"), "/r/libomp.dylib")
  expect_identical(openmp_clash("/c/libiomp5md.dll", "/t/libiomp5md.dll"), "/c/libiomp5md.dll")
  expect_identical(openmp_clash(character(), "/torch/lib/libomp.so"), character())
})

test_that("a clashing OpenMP stops the call before torch loads", {
  skip_without_python()
  local_mocked_bindings(openmp_loaded = function() "/r/libomp.so", openmp_of_torch = function(python) "/t/libomp.so")
  local_mocked_bindings(is_torch_loaded = function(bridge) FALSE)
  withr::local_envvar(KMP_DUPLICATE_LIB_OK = NA)
  expect_error(python_bridge(torch = TRUE), "two OpenMP runtimes", class = "celloquy_python_error")
  withr::local_envvar(KMP_DUPLICATE_LIB_OK = "TRUE")
  expect_no_error(python_bridge(torch = TRUE))
})

test_that("torch multiplies on its own BLAS, not on R's, however celloquy is imported", {
  skip_without_python()
  code <- "
import hashlib, torch
torch.manual_seed(0)
product = torch.randn(80, 128) @ torch.randn(128, 384)
print(hashlib.md5(product.numpy().tobytes()).hexdigest())
"
  alone <- system2(reticulate::py_exe(), c("-c", shQuote(code)), stdout = TRUE)
  for (first in c("celloquy:::python_bridge(torch = TRUE)", "reticulate::import('celloquy')")) {
    within <- run_r(c(paste0("invisible(", first, ")"), sprintf("reticulate::py_run_string(%s)", deparse1(code))))
    expect_identical(within$out[[1]], alone, info = paste(within$err, collapse = "\n"))
  }
})

test_that("a torch that came before celloquy is told once", {
  skip_without_python()
  skip_on_os(c("mac", "windows"))
  result <- run_r(c(
    "reticulate::import('torch')",
    sprintf("for (i in 1:2) RunCelloquy(SeuratObject::pbmc_small, %s, verbose = FALSE)", deparse(small_model()))
  ))
  expect_length(grep("torch was loaded before celloquy", result$err), 1)
})

test_that("a Python package that is too old is told", {
  skip_without_python()
  local_mocked_bindings(oldest_python_package = "99.0.0")
  expect_error(python_bridge(), "too old", class = "celloquy_python_error")
})
