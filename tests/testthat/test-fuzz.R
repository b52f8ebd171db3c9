test_that("random objects, files and arguments end with the right result or a condition of ours", {
  skip_without_python()
  skip_if_not_installed("SingleCellExperiment")
  folder <- test_path("..", "fuzz")
  skip_if_not(dir.exists(folder), "the sources of the package")
  fuzz <- new.env(parent = environment())
  files <- c("objects.R", "judge.R", "cases.R", "genes.R", "evidence.R", "fuzz.R")
  for (file in files) sys.source(file.path(folder, file), fuzz)
  fuzz$start_fuzz(normalizePath(folder))
  for (seed in 100001:100040) {
    found <- fuzz$run_seed(seed)
    expect_null(found$wrong, info = paste("seed", seed, found$case))
  }
})
