# What a call of R may end with: a result, or a condition of ours; nothing else changed, left behind or said.

wrong <- function(...) stop_as("wrong", paste0(...))

stop_as <- function(class, message) {
  stop(structure(class = c(class, "error", "condition"), list(message = message, call = NULL)))
}

# What its own package can't make is no object, and no input.
no_object <- function(code) tryCatch(code, error = function(error) stop_as("no_object", conditionMessage(error)))

python_module <- function(name) reticulate::import(name, convert = FALSE)

is_ours <- function(condition) any(grepl("^celloquy_(?!python_error)", class(condition), perl = TRUE))

# Runs a call; returns its value, or the condition of ours that ended it.
watched <- function(call, unchanged = list(), folder) {
  # Copies that share no memory with the objects; a hash would see what R itself puts off.
  before <- lapply(unchanged, function(object) unserialize(serialize(object, NULL)))
  files <- list.files(c(folder, tempdir()), all.files = TRUE, recursive = TRUE)
  state <- get0(".Random.seed", globalenv())
  said <- character()
  note <- function(condition) {
    who <- speaker()
    if (!identical(who, "celloquy") || inherits(condition, "message")) {
      said <<- c(said, paste0(class(condition)[[1]], " of ", who, ": ", conditionMessage(condition)))
    }
    rlang::cnd_muffle(condition)
  }
  printed <- utils::capture.output(
    result <- tryCatch(
      withCallingHandlers(call(), warning = note, message = note),
      error = function(error) {
        if (!is_ours(error)) wrong(class(error)[[1]], ": ", conditionMessage(error))
        error
      }
    )
  )
  if (length(said)) wrong("it said: ", said[[1]])
  if (length(printed)) wrong("it printed: ", printed[[1]])
  if (!identical(before, unchanged)) wrong("an input was changed")
  left <- setdiff(list.files(c(folder, tempdir()), all.files = TRUE, recursive = TRUE), files)
  if (length(left)) wrong("files were left: ", left[[1]])
  if (!identical(state, get0(".Random.seed", globalenv()))) wrong("the state of R's generator was changed")
  result
}

# The package whose function signals the condition that is being handled.
speaker <- function() {
  functions <- lapply(seq_len(sys.nframe()), sys.function)
  owners <- vapply(functions, function(one) environmentName(topenv(environment(one) %||% baseenv())), "")
  owners <- owners[!owners %in% c("base", "rlang", "cli", "R_GlobalEnv", "reticulate", "methods", "lifecycle")]
  if (length(owners)) owners[[length(owners)]] else "R"
}

ended <- function(result) inherits(result, "condition")

check_end <- function(s, result) {
  if (s$end == "result" && ended(result)) wrong("plain cells were refused: ", conditionMessage(result))
  if (s$end == "refusal" && !ended(result)) wrong("what can't be right was accepted: ", toString(s$oddities))
}

how <- function(result) if (ended(result)) class(result)[[1]] else "result"
