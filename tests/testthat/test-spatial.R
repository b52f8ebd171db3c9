test_that("the centre of a segmented cell is the mean of its corners", {
  object <- small_object()
  cells <- colnames(object)[1:2]
  corners <- data.frame(x = c(0, 2, 2, 0, 10, 12, 12, 10), y = c(0, 0, 4, 4, 0, 0, 2, 2), cell = rep(cells, each = 4))
  object[["fov"]] <- SeuratObject::CreateFOV(corners, type = "segmentation", assay = "RNA")
  positions <- tissue_positions(object)
  expect_identical(rownames(positions), cells)
  expect_equal(positions$y, c(2, 1))
  expect_identical(positions$image, c("fov", "fov"))
})

test_that("cells in no image have no position", {
  counts <- SeuratObject::LayerData(SeuratObject::pbmc_small, layer = "counts")
  positions <- matrix(1:4 / 2, 2, dimnames = list(colnames(counts)[c(5, 2)], c("x", "y")))
  expanded <- check_positions(for_cells(positions, counts), counts)
  expect_identical(dim(expanded), c(80L, 2L))
  expect_identical(expanded[c(2, 5), 1], c(1, 0.5))
  expect_identical(sum(is.na(expanded)), 156L)
})
