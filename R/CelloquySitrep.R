#' What celloquy finds on this machine, and what to do
#'
#' Shows which Python is used and why, what it holds, on which device the model would run, and whether two OpenMP
#' runtimes are in each other's way. Nothing is installed or changed, and torch is looked at in a process of its own.
#'
#' @return A list, invisibly: `r`, `python`, `packages`, `device`, `openmp`, and `todo`: the steps that are left, one
#'   line each, none if all is well.
#' @seealso [InstallCelloquy()]
#' @examplesIf celloquy:::examples_can_run()
#' CelloquySitrep()
#' @export
CelloquySitrep <- function() {
  r <- r_facts()
  python <- python_choice()
  facts <- if (!is.null(python$path)) python_facts(python$path) else list()
  packages <- facts[c("celloquy", "torch", "numpy", "scanpy", "anndata")]
  loaded <- openmp_loaded()
  clash <- if (nzchar(packages$torch %||% "") && !python$started) {
    openmp_clash(loaded, openmp_of_torch(python$path))
  } else {
    character()
  }
  report <- list(
    r = r,
    python = python,
    packages = packages,
    device = facts$device,
    openmp = list(loaded = loaded, clash = clash),
    todo = steps_left(python, facts, clash)
  )
  print_sitrep(report, facts$failure)
  invisible(report)
}

r_facts <- function() {
  packages <- c("celloquy", "reticulate", "SeuratObject", "Seurat")
  versions <- lapply(packages, function(package) {
    if (rlang::is_installed(package)) format(utils::packageVersion(package)) else ""
  })
  c(list(R = format(getRversion())), stats::setNames(versions, packages))
}

# The versions that a Python holds, asked in a process of its own.
python_facts <- function(python) {
  script <- system.file("sitrep.py", package = "celloquy")
  lines <- suppressWarnings(system2(python, shQuote(script), stdout = TRUE, stderr = FALSE))
  pairs <- strsplit(grep("\t", lines, value = TRUE, fixed = TRUE), "\t", fixed = TRUE)
  values <- lapply(pairs, function(pair) if (length(pair) > 1) pair[[2]] else "")
  stats::setNames(values, vapply(pairs, `[[`, "", 1))
}

# The steps that are left, as lines for cli.
steps_left <- function(python, facts, clash) {
  has <- function(name) nzchar(facts[[name]] %||% "")
  problem <- if (!is.null(python$failure)) {
    literal(first_line(python$failure))
  } else if (is.null(python$path)) {
    "No Python is chosen: reticulate would fetch one on first use, several GB on Linux."
  } else if (!has("python")) {
    "The Python at {.path {python$path}} does not run."
  } else if (!has("celloquy")) {
    "This Python has no package celloquy."
  } else if (numeric_version(facts$celloquy, strict = FALSE) < oldest_python_package) {
    "The Python package celloquy is too old for this R package."
  } else if (!has("torch") || has("failure")) {
    "torch does not load: {facts$failure %||% 'it is not installed'}."
  }
  lines <- c(
    if (length(problem)) c(problem, install_steps(python)),
    if (length(clash)) {
      c(
        "Another OpenMP runtime ({.path {clash}}) is loaded, and torch's would end this session.",
        "Restart R and call {.code reticulate::import(\"torch\")} before other packages."
      )
    }
  )
  vapply(lines, function(line) cli::format_inline(line, .envir = environment()), "", USE.NAMES = FALSE)
}

print_sitrep <- function(report, failure) {
  present <- function(versions) {
    versions <- unlist(versions)
    ifelse(nzchar(versions), paste(names(versions), versions), paste(names(versions), "(missing)"))
  }
  python <- report$python
  cli::cli_h1("celloquy")
  cli::cli_bullets(c("*" = "R: {.strong {present(report$r)}}"))
  if (is.null(python$path)) {
    cli::cli_bullets(c(x = "Python: none chosen"))
  } else {
    cli::cli_bullets(c(
      "*" = "Python: {.path {python$path}}{if (python$started) ', in use'}",
      "*" = if (nzchar(python$why)) "Why this one: {python$why}",
      "*" = "It holds: {.strong {present(report$packages)}}",
      "*" = if (nzchar(report$device %||% "")) "Device: {report$device}",
      x = if (!is.null(failure) && nzchar(report$packages$torch)) "torch: {failure}"
    ))
  }
  loaded <- report$openmp$loaded
  cli::cli_bullets(c("*" = "OpenMP in this session: {if (length(loaded)) basename(loaded) else 'none found'}"))
  if (length(report$todo)) {
    cli::cli_bullets(stats::setNames(literal(report$todo), rep("!", length(report$todo))))
  } else {
    cli::cli_bullets(c(v = "Ready."))
  }
}

# Whether examples can run: Python is installed, and reticulate would not fetch it.
examples_can_run <- function() {
  python <- python_choice()
  !is.null(python$path) && nzchar(python_facts(python$path)$celloquy %||% "")
}
