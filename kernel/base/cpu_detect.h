#ifndef BASE_CPU_DETECT_H
#define BASE_CPU_DETECT_H

#include <stdint.h>

/* All features of this machine, before any bound. Implemented once per processor family. */
uint64_t cpu_detect_features(void);

#endif
