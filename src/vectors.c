/* Where the values of a vector lie, and vectors over memory of their own: for Python to read and to fill.
 *
 * R zeroes what it allocates and collects garbage to make room for it; for hundreds of megabytes that a conversion fills
 * at once, both take longer than filling them. Such a vector is R's in everything else: saved, copied and changed as any.
 */
#define R_NO_REMAP
#include <stdint.h>
#include <stdlib.h>
#include <R.h>
#include <Rinternals.h>
#include <R_ext/Altrep.h>
#include <R_ext/Rdynload.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define HUGE_PAGE ((size_t) 1 << 21)

typedef struct {
    void *values;
    R_xlen_t length;
    size_t bytes;
} Block;

static R_altrep_class_t double_class, integer_class;

/* R does not know of this memory, so that it is seen to here that what nobody needs is collected in time. */
static size_t held = 0;
static size_t most = (size_t) 1 << 30;

static Block *block_of(SEXP vector) {
    return R_ExternalPtrAddr(R_altrep_data1(vector));
}

static void release(SEXP pointer) {
    Block *block = R_ExternalPtrAddr(pointer);
    if (block == NULL) return;
    held -= block->bytes;
    free(block->values);
    free(block);
    R_ClearExternalPtr(pointer);
}

static void *room(size_t bytes) {
#ifdef __linux__
    void *values = NULL;
    if (bytes >= 2 * HUGE_PAGE) {
        if (posix_memalign(&values, HUGE_PAGE, bytes) != 0) return NULL;
        /* Advice only: without huge pages it is as good, and slower to fill. */
        madvise(values, bytes, MADV_HUGEPAGE);
        return values;
    }
#endif
    return malloc(bytes);
}

static R_xlen_t length_of(SEXP vector) {
    return block_of(vector)->length;
}

static void *values_of(SEXP vector, Rboolean writable) {
    return block_of(vector)->values;
}

static const void *values_or_null(SEXP vector) {
    return block_of(vector)->values;
}

static double double_at(SEXP vector, R_xlen_t place) {
    return ((double *) block_of(vector)->values)[place];
}

static int integer_at(SEXP vector, R_xlen_t place) {
    return ((int *) block_of(vector)->values)[place];
}

/* A vector of a type and a length, whose values are whatever the memory held: they must be filled. */
static SEXP new_vector(SEXP type, SEXP length) {
    int real = Rf_asLogical(type);
    R_xlen_t values = (R_xlen_t) Rf_asReal(length);
    if (values == 0) return Rf_allocVector(real ? REALSXP : INTSXP, 0);
    size_t bytes = (size_t) values * (real ? sizeof(double) : sizeof(int));
    if (held + bytes > most) {
        R_gc();
        if (2 * (held + bytes) > most) most = 2 * (held + bytes);
    }
    Block *block = malloc(sizeof(Block));
    void *memory = block == NULL ? NULL : room(bytes);
    if (memory == NULL) {
        R_gc();
        memory = block == NULL ? NULL : room(bytes);
    }
    if (memory == NULL) {
        free(block);
        Rf_error("cannot allocate a vector of %.1f GB", bytes / 1e9);
    }
    block->values = memory;
    block->length = values;
    block->bytes = bytes;
    held += bytes;
    SEXP pointer = PROTECT(R_MakeExternalPtr(block, R_NilValue, R_NilValue));
    R_RegisterCFinalizerEx(pointer, release, TRUE);
    SEXP vector = R_new_altrep(real ? double_class : integer_class, pointer, R_NilValue);
    UNPROTECT(1);
    return vector;
}

/* Where the values lie, as a number: addresses have fewer bits than a double holds. */
static SEXP address_of(SEXP vector) {
    const void *values = TYPEOF(vector) == REALSXP ? (const void *) REAL_RO(vector) : (const void *) INTEGER_RO(vector);
    return Rf_ScalarReal((double) (uintptr_t) values);
}

static const R_CallMethodDef routines[] = {
    {"celloquy_new_vector", (DL_FUNC) &new_vector, 2},
    {"celloquy_address_of", (DL_FUNC) &address_of, 1},
    {NULL, NULL, 0}
};

static void give_methods(R_altrep_class_t class) {
    R_set_altrep_Length_method(class, length_of);
    R_set_altvec_Dataptr_method(class, values_of);
    R_set_altvec_Dataptr_or_null_method(class, values_or_null);
}

void R_init_celloquy(DllInfo *library) {
    double_class = R_make_altreal_class("celloquy_double", "celloquy", library);
    integer_class = R_make_altinteger_class("celloquy_integer", "celloquy", library);
    give_methods(double_class);
    give_methods(integer_class);
    R_set_altreal_Elt_method(double_class, double_at);
    R_set_altinteger_Elt_method(integer_class, integer_at);
    R_registerRoutines(library, NULL, routines, NULL, NULL);
    R_useDynamicSymbols(library, FALSE);
    R_forceSymbols(library, TRUE);
}
