# As Python and an h5ad file would have it, without either.
again <- function(x) from_plain(as_plain(x))

test_that("plain data of every kind comes back identical", {
  values <- list(
    NULL, 1, 1:3, c(a = 1L, b = NA), NA, c(TRUE, NA), "\u00e9", c("a", NA), character(), integer(), logical(), list(),
    list(1, NULL, "a"), list(a = 1, b = list(c = NULL)), list(R = 1, names = 2),
    stats::setNames(list(1, 2), c("a/b", "")),
    every_column(7), matrix(1:6, 2), matrix(c("a", NA), 1, dimnames = list("r", c("x", "y"))), array(1:24, 2:4),
    array(1:3), array(character()), array(c(a = 1), dimnames = list("a")),
    Sys.time(), as.POSIXct("2020-01-01", tz = "Europe/Berlin"), as.POSIXlt("2020-01-01"),
    as.difftime(3, units = "mins"), 1i, as.raw(1:3), structure(1, class = "zz"), numeric_version("1.2.3"),
    stats::setNames(list(), character()),
    list(NULL), data.frame(), matrix(0, 0, 0), c(NA_real_, NaN, Inf, -0), factor(c("a", NA), exclude = NULL),
    stats::setNames(c("a", "b"), c("", NA)), Matrix::rsparsematrix(3, 3, 0.5), SeuratObject::pbmc_small
  )
  for (value in values) {
    expect_identical(again(value), value)
  }
})

test_that("what is not plain is left out and named", {
  lost <- character()
  drop <- function(path, why) lost <<- c(lost, paste0(path, ": ", why))
  value <- list(a = 1, b = list(f = function(x) x, e = globalenv()), c = quote(x + y))
  expect_identical(from_plain(as_plain(value, "misc", drop)), list(a = 1, b = stats::setNames(list(), character())))
  expect_identical(sub(":.*", "", lost), c("misc$b$f", "misc$b$e", "misc$c"))
})

test_that("Seurat's own functions in logs of commands are kept by name", {
  skip_if_not_installed("Seurat")
  command <- list(mean.function = utils::getFromNamespace("FastExpMean", "Seurat"))
  expect_identical(as_plain(command)$mean.function, list(R = "function", package = "Seurat", name = "FastExpMean"))
  expect_identical(again(command), command)
})

test_that("only classes of plain data are made of what a file says", {
  evil <- list(R = "S4", class = "Thing", package = "celloquy", slots = as_plain(list()))
  expect_null(from_plain(evil))
  expect_null(from_plain(list(R = "function", package = "base", name = "system")))
})
