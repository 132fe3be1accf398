/* Status codes of Sluice. Includes nothing, so every layer may use it.
 *
 * One X-macro is the whole truth: name, exit code of the program, sentence. */
#ifndef SLUICE_STATUS_H
#define SLUICE_STATUS_H

/*  X(NAME, exit code, sentence) */
#define SLUICE_STATUS_LIST(X)                                                     \
    X(OK, 0, "success")                                                           \
    X(ARGUMENT, 1, "an argument is missing, unknown or out of range")             \
    X(CONTEXT, 1, "the tokens do not fit in the context")                         \
    X(FORMAT, 2, "the file is malformed or contradicts itself")                   \
    X(UNSUPPORTED, 2, "the file uses something that this program does not know")  \
    X(NUMERIC, 2, "the model computed a value that is not finite")                \
    X(IO, 3, "a file cannot be opened, read or written")                          \
    X(MEMORY, 4, "not enough memory")                                             \
    X(CANCELLED, 130, "cancelled")

typedef enum sluice_status {
#define X(name, exit_code, text) SLUICE_##name,
    SLUICE_STATUS_LIST(X)
#undef X
} sluice_status;

#endif
