/* Packing: brings planned matrices and vectors from the maps of the files into memory that bind.c has placed. */
#ifndef MODEL_PACK_H
#define MODEL_PACK_H

#include "model/model.h"
#include "model/plan.h"

/* One matrix (or vector) to be brought from the files into the model. */
struct job {
    const struct planned *item;
    void *target;                      /* the pointer in struct model that receives the address; see place_jobs */
    const struct panel_layout *layout; /* NULL: a vector of floats */
    bool in_place;                     /* the file's bytes are the packed matrix: nothing is to be done */
    void *data;                        /* where it goes, after placing */
};

size_t job_bytes(const struct job *job); /* as packed */

/* Packs all jobs, whose rows lie in the archive; the pages of the files are released on the way. No call of o->progress
 * comes from another thread. A number that the layout's type cannot hold is named, the first one, whatever the number
 * of threads. */
sluice_status pack_jobs(const struct job *jobs, size_t n_jobs, const struct archive *a, struct team *team,
                        const struct bind_options *o, struct failure *f);

/* Which thread packs the rows from row0 on, and so is the first to touch their memory. Products are dealt piece by
 * piece to whichever thread is free, so no thread owns rows: huge pages go round, and where memory has several nodes
 * every piece of work reads from all of them. */
int pack_owner(const struct job *job, int row0, int n_threads);

#endif
