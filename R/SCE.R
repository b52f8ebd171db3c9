sce_parts <- function(...) stop()
AnnDataToSCE <- function(...) stop()
