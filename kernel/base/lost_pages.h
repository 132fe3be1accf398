/* What happens when a file that is mapped becomes shorter: to read behind its new end raises SIGBUS.
 *
 * Here is a list of the maps of files, and what a handler of that signal calls. It puts zeros in the place of the lost
 * pages, so that whoever reads them can go on, and marks the map as torn, so that what was made of it is not used. The
 * library installs no handler: signals belong to the program. */
#ifndef BASE_LOST_PAGES_H
#define BASE_LOST_PAGES_H

#include <stdbool.h>
#include <stddef.h>

enum { LOST_PAGES_MAPS = 8192 }; /* at most listed at a time */

struct listed_map;

/* Lists [begin, begin + bytes), a map of a file that begins at a page, bytes > 0. NULL: the list is full. */
struct listed_map *lost_pages_watch(const void *begin, size_t bytes);
void lost_pages_forget(struct listed_map *m); /* before it is unmapped; NULL is fine */
bool lost_pages_torn(const struct listed_map *m);

/* If a listed map has `address`, zeros take the place of its pages from there to its end, and it is torn. False: none
 * has it, or the system refuses. Takes no lock, asks for no memory, keeps errno: for signal handlers, in any thread. */
bool lost_pages_replace(const void *address);

#endif
