# Positions of cells, from the images of a Seurat object.

# Centres of cells in all images, and the image of each: a data frame with columns x, y, image; cells as row names.
tissue_positions <- function(object, call = rlang::caller_env()) {
  images <- SeuratObject::Images(object)
  if (!length(images)) {
    cli::cli_abort(c(
      "There are no positions in this object.",
      x = "It has no images or fields of view.",
      i = "Leave {.arg spatial} out, or load the object with its spatial data, for example with \\
           {.fn Seurat::LoadXenium} or {.fn Seurat::Load10X_Spatial}."
    ), class = "celloquy_ArgumentError", call = call)
  }
  positions <- do.call(rbind, lapply(images, function(image) cell_centres(object[[image]], image)))
  positions <- positions[!duplicated(positions$cell), ]
  rownames(positions) <- positions$cell
  positions[intersect(colnames(object), positions$cell), c("x", "y", "image")]
}

cell_centres <- function(image, name) {
  found <- SeuratObject::GetTissueCoordinates(image)
  # Visium's first class names its pixels by row and column and its cells by row name.
  cell <- as.character(found[["cell"]] %||% rownames(found))
  axes <- if (all(c("x", "y") %in% names(found))) found[c("x", "y")] else found[c("imagecol", "imagerow")]
  # A segmentation has a row for every corner of a cell, the first one twice: its centre is their mean.
  corners <- unique(data.frame(cell = cell, x = axes[[1]], y = axes[[2]]))
  centres <- rowsum(cbind(corners[c("x", "y")], n = 1), corners$cell, reorder = FALSE)
  data.frame(x = centres$x / centres$n, y = centres$y / centres$n, cell = rownames(centres), image = name)
}
