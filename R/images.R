# Images and fields of view of a Seurat object, and the places of its cells in them.

# In R every outline and every molecule is a small object. As one table they cross to Python, and to a file, a thousand
# times faster.
polygon_tables <- list(
  Segmentation = list(
    to = function(x) {
      corners <- lapply(x@polygons, function(cell) cell@Polygons[[1]]@coords)
      lengths <- vapply(corners, nrow, 0L)
      all <- do.call(rbind, unname(corners))
      # The last corner is the first again.
      last <- cumsum(lengths)
      open <- setdiff(seq_len(nrow(all)), last)
      list(
        x = unname(all[open, 1]), y = unname(all[open, 2]), cell = rep(names(x@polygons), lengths - 1L),
        row.names = if (!is.null(rownames(all))) as.integer(rownames(all)[open])
      )
    },
    from = function(table) {
      data <- data.frame(x = table$x, y = table$y, cell = table$cell)
      if (!is.null(table$row.names)) rownames(data) <- table$row.names
      suppressWarnings(SeuratObject::CreateSegmentation(data))
    }
  ),
  Molecules = list(
    to = function(x) {
      coords <- lapply(x@.Data, function(points) points@coords)
      all <- do.call(rbind, coords)
      list(
        x = unname(all[, 1]), y = unname(all[, 2]), gene = rep(names(x), vapply(coords, nrow, 0L)),
        key = SeuratObject::Key(x)
      )
    },
    from = function(table) {
      SeuratObject::CreateMolecules(data.frame(x = table$x, y = table$y, gene = table$gene), key = table$key)
    }
  )
)

# Images on their way to Python: positions in obsm["spatial"], pictures in uns["spatial"], and the rest to remember.
# `of` tells of each cell which image its position is in, if there are several. `derived` are the images that were made
# of an AnnData's positions, which return by themselves.
images_to_python <- function(object, derived, report) {
  images <- object@images[setdiff(names(object@images), derived)]
  cells <- rownames(object@meta.data)
  here <- vapply(images, function(image) any(SeuratObject::Cells(image) %in% cells), NA)
  for (name in names(images)[!here]) dropped(report, paste("image", name), "it has none of these cells")
  images <- images[here]
  if (!length(images)) {
    return(list(obsm = list(), uns = list(), layout = NULL))
  }
  keys <- safe_keys(names(images))
  places <- matrix(NA_real_, length(cells), 2)
  of <- rep(NA_integer_, length(cells))
  pictures <- list()
  for (i in seq_along(images)) {
    name <- names(images)[[i]]
    centres <- pixel_places(images[[i]], name)
    rows <- match(centres$cell, cells)
    new <- !is.na(rows) & is.na(of[rows])
    places[rows[new], ] <- as.matrix(centres[new, c("x", "y")])
    of[rows[new]] <- i
    pictured <- has_picture(images[[i]])
    if (pictured) {
      pictures[[keys[[i]]]] <- picture_to_python(images[[i]])
      images[[i]]@image <- array(0, c(0, 0, 0))
    }
    if (keys[[i]] != name) renamed(report, paste("image", name), paste0("in files it is called \"", keys[[i]], "\""))
    kept(report, paste("image", name), paste0("obsm[\"spatial\"]", if (pictured) ", uns[\"spatial\"]"))
  }
  list(
    obsm = list(spatial = list(dense = places)),
    uns = if (length(pictures)) list(spatial = value_to_python(pictures)) else list(),
    of = if (length(images) > 1) factor(of, seq_along(images), keys),
    layout = images, pictured = names(images)[keys %in% names(pictures)]
  )
}

has_picture <- function(image) methods::.hasSlot(image, "image") && length(image@image) > 0

# Centres of cells as scanpy and squidpy have them: x to the right and y down, in pixels of the full picture.
pixel_places <- function(image, name) {
  if (!length(SeuratObject::Cells(image))) {
    return(data.frame(cell = character(), x = numeric(), y = numeric()))
  }
  if (inherits(image, "VisiumV1")) {
    spots <- image@coordinates
    return(data.frame(cell = rownames(spots), x = spots$imagecol, y = spots$imagerow))
  }
  centres <- cell_centres(image, name)
  # Visium's second class calls the row x.
  if (inherits(image, "VisiumV2")) centres[c("x", "y")] <- centres[c("y", "x")]
  centres
}

picture_to_python <- function(image) {
  factors <- image@scale.factors
  number <- function(name) if (is.null(factors[[name]])) NULL else as.numeric(factors[[name]])
  scalefactors <- list(
    tissue_hires_scalef = number("hires"), tissue_lowres_scalef = number("lowres"),
    spot_diameter_fullres = number("spot"), fiducial_diameter_fullres = number("fiducial")
  )
  list(
    images = list(lowres = image@image),
    scalefactors = scalefactors[!vapply(scalefactors, is.null, NA)],
    metadata = list()
  )
}

# The images of an object that came from Seurat, with their pictures, for the cells that are still there.
images_from_layout <- function(layout, pictured, spatial, cells, drop) {
  keys <- safe_keys(names(layout) %||% character())
  images <- lapply(stats::setNames(nm = names(layout)), function(name) {
    image <- layout[[name]]
    if (is.null(image)) {
      drop(paste("image", name), "the package of its class is not installed")
      return(NULL)
    }
    if (name %in% pictured) {
      picture <- spatial[[keys[[match(name, names(layout))]]]]$images$lowres
      if (is.null(picture)) {
        drop(paste("image", name), "its picture is no longer in uns[\"spatial\"]")
        return(NULL)
      }
      attr(picture, "python") <- NULL
      image@image <- picture
    }
    here <- SeuratObject::Cells(image)
    if (all(here %in% cells)) {
      image
    } else if (any(here %in% cells)) {
      subset(image, cells = intersect(here, cells))
    } else {
      drop(paste("image", name), "none of its cells is left")
    }
  })
  images[!vapply(images, is.null, NA)]
}

# Images made of what scanpy and squidpy keep: positions, the slide of each cell and, for Visium, pictures. `lost` names
# what could not be made, and why.
images_from_anndata <- function(places, spatial, obs, cells, assay) {
  rownames(places) <- cells
  known <- !is.na(places[, 1]) & !is.na(places[, 2])
  if (!any(known)) {
    return(list())
  }
  if (any(is.infinite(places[known, ]))) {
    return(list(lost = list(c("image of obsm[\"spatial\"]", "some of its coordinates are infinite"))))
  }
  # Beside the slides there may be other entries, such as CELLxGENE's is_single.
  slides <- if (is.list(spatial)) spatial[vapply(spatial, is.list, NA)] else list()
  of <- slide_of_cells(names(slides), obs, known)
  if (is.null(of)) {
    why <- paste0(
      "of ", length(slides), " slides in uns[\"spatial\"], no column of obs says which one a cell lies on"
    )
    return(list(lost = list(c("image of obsm[\"spatial\"]", why))))
  }
  names <- unique(of[known])
  spelled <- make.names(names, unique = TRUE)
  images <- lapply(stats::setNames(seq_along(names), spelled), function(i) {
    here <- places[known & of %in% names[[i]], , drop = FALSE]
    key <- seurat_key(spelled[[i]])
    picture <- picture_from_anndata(slides[[names[[i]]]])
    if (!is.null(picture) && requireNamespace("Seurat", quietly = TRUE)) {
      return(visium_image(here, picture, assay, key))
    }
    centroids <- data.frame(x = here[, 1], y = here[, 2], cell = rownames(here))
    # Seurat makes the radius of the extent, which cells in one place have none of.
    radius <- if (length(unique(here[, 1])) == 1 && length(unique(here[, 2])) == 1) 1
    centroids <- SeuratObject::CreateCentroids(centroids, radius = radius)
    SeuratObject::CreateFOV(centroids, type = "centroids", assay = assay, key = key)
  })
  list(images = images)
}

# The slide of each cell by name; NULL if there are several and no column names them.
slide_of_cells <- function(slides, obs, known) {
  if (length(slides) > 1) {
    fitting <- Filter(function(name) {
      column <- obs[[name]]
      (is.factor(column) || is.character(column)) && all(as.character(column)[known] %in% slides)
    }, c(intersect("library_id", names(obs)), setdiff(names(obs), "library_id")))
    return(if (length(fitting)) as.character(obs[[fitting[[1]]]]))
  }
  # squidpy's usual name of the column.
  named <- obs[["library_id"]]
  if (length(named) && !anyNA(named[known]) && (is.factor(named) || is.character(named))) {
    return(as.character(named))
  }
  rep(if (length(slides)) slides else "fov", nrow(obs))
}

# A picture of a slide with the scale of that picture; NULL if there is none whose scale is known.
picture_from_anndata <- function(slide) {
  number <- function(name) {
    value <- slide$scalefactors[[name]]
    if (is.numeric(value) && length(value) == 1) as.numeric(value) else NA_real_
  }
  for (kind in c("lowres", "hires")) {
    picture <- slide$images[[kind]]
    scale <- number(paste0("tissue_", kind, "_scalef"))
    if (!is.numeric(picture) || !length(dim(picture)) %in% 2:3 || is.na(scale)) next
    whole <- grepl("int", attr(picture, "python")$dtype %||% "") || max(picture, 0, na.rm = TRUE) > 1
    attr(picture, "python") <- NULL
    if (whole) picture <- picture / 255
    # Shades of grey are one channel; Seurat draws three.
    if (length(dim(picture)) == 2) picture <- array(rep(picture, 3), c(dim(picture), 3))
    return(list(
      picture = picture, scale = scale, hires = number("tissue_hires_scalef"), spot = number("spot_diameter_fullres"),
      fiducial = number("fiducial_diameter_fullres")
    ))
  }
}

visium_image <- function(places, slide, assay, key) {
  spot <- if (is.na(slide$spot)) 1 else slide$spot
  # Seurat draws its one picture at the scale that it calls lowres.
  scales <- Seurat::scalefactors(spot = spot, fiducial = slide$fiducial, hires = slide$hires, lowres = slide$scale)
  # Seurat's second class for Visium calls the row x and the column y.
  fov <- SeuratObject::CreateFOV(
    data.frame(x = places[, 2], y = places[, 1], cell = rownames(places)),
    type = "centroids", radius = spot, assay = assay, key = key
  )
  methods::new(
    methods::getClass("VisiumV2", where = asNamespace("Seurat")),
    image = slide$picture, scale.factors = scales, molecules = fov@molecules, boundaries = fov@boundaries,
    assay = fov@assay, key = fov@key
  )
}
