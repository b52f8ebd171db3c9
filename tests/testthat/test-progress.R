test_that("Python's bars are drawn by cli, and only while the call runs", {
  skip_without_python()
  python_bridge(torch = TRUE)
  bars <- reticulate::import("celloquy.runtime.progress")
  withr::local_options(cli.dynamic = FALSE)
  count <- "
from celloquy.runtime.progress import ProgressBar
for task in ('Training', 'Embedding'):
    with ProgressBar(total=1000, desc=task, mininterval=0) as bar:
        for _ in range(1000):
            bar.set_postfix({'loss': '1.5'}, refresh=False)
            bar.update(1)
"
  drawn <- capture.output(with_progress(reticulate::py_run_string(count)), type = "message")
  expect_match(drawn[[1]], "^Training .* 10% .* loss=1.5")
  expect_match(drawn[[20]], "^Embedding .*100% ")
  expect_length(drawn, 20)
  expect_null(bars$ProgressBar$listener)
})

test_that("a failing call leaves no listener behind", {
  skip_without_python()
  python_bridge(torch = TRUE)
  bars <- reticulate::import("celloquy.runtime.progress")
  expect_error(with_progress(stop("no")), "no")
  expect_null(bars$ProgressBar$listener)
})
