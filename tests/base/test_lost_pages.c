/* Maps whose file becomes shorter: zeros in the place of what is lost, from any thread, and nothing else touched. */
#include "base/lost_pages.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

static atomic_int n_replaced;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (lost_pages_replace(info->si_addr))
        atomic_fetch_add(&n_replaced, 1);
    else
        signal(number, SIG_DFL);
}

static void install(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    cr_assert_eq(sigaction(SIGBUS, &action, NULL), 0);
}
TestSuite(lost_pages, .init = install);

struct mapped {
    FILE *file;
    size_t bytes;
    const volatile unsigned char *data; /* every byte is 7 */
    struct listed_map *listed;
};

static struct mapped map_file(size_t bytes)
{
    struct mapped m = {.file = tmpfile(), .bytes = bytes};
    cr_assert(m.file);
    for (size_t i = 0; i < bytes; i++) fputc(7, m.file);
    cr_assert_eq(fflush(m.file), 0);
    void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fileno(m.file), 0);
    cr_assert_neq(p, MAP_FAILED);
    m.data = p;
    m.listed = lost_pages_watch(p, bytes);
    cr_assert(m.listed);
    return m;
}

static void unmap_file(struct mapped *m)
{
    lost_pages_forget(m->listed);
    munmap((void *)(uintptr_t)m->data, m->bytes);
    fclose(m->file);
}

Test(lost_pages, what_is_lost_reads_as_zeros_and_the_rest_stays)
{
    const size_t page = memory_page_bytes();
    struct mapped a = map_file(6 * page + 10), b = map_file(3 * page);
    cr_assert_eq(ftruncate(fileno(a.file), (off_t)(2 * page)), 0);
    cr_expect_not(lost_pages_torn(a.listed), "nobody has looked yet");
    cr_expect_eq(a.data[2 * page - 1], 7);
    cr_expect_eq(a.data[4 * page], 0);
    cr_expect(lost_pages_torn(a.listed));
    cr_expect_eq(a.data[6 * page + 9], 0, "from there to the end at once");
    cr_expect_eq(atomic_load(&n_replaced), 1);
    cr_expect_eq(a.data[2 * page], 0, "before it, when it is read");
    cr_expect_eq(atomic_load(&n_replaced), 2);
    cr_expect_eq(a.data[0], 7);
    cr_expect_not(lost_pages_torn(b.listed));
    for (size_t i = 0; i < b.bytes; i += 100) cr_expect_eq(b.data[i], 7);
    unmap_file(&a);
    unmap_file(&b);
}

Test(lost_pages, only_listed_maps_are_replaced)
{
    const size_t page = memory_page_bytes();
    struct mapped a = map_file(page + 1);
    errno = 77;
    cr_expect_not(lost_pages_replace((const void *)((uintptr_t)a.data - 1)));
    cr_expect_not(lost_pages_replace((const void *)((uintptr_t)a.data + 2 * page)));
    cr_expect_not(lost_pages_replace(NULL));
    cr_expect_not(lost_pages_replace(&a));
    cr_expect_not(lost_pages_torn(a.listed));
    cr_expect(lost_pages_replace((const void *)((uintptr_t)a.data + 2 * page - 1)), "its last page is whole");
    cr_expect_eq(errno, 77);
    cr_expect_eq(a.data[page - 1], 7);
    cr_expect_eq(a.data[page], 0);
    lost_pages_forget(a.listed);
    a.listed = NULL;
    cr_expect_not(lost_pages_replace((const void *)(uintptr_t)a.data));
    unmap_file(&a);
}

Test(lost_pages, the_list_has_an_end_and_places_are_used_again)
{
    static const char here[LOST_PAGES_MAPS];
    static struct listed_map *listed[LOST_PAGES_MAPS];
    for (size_t i = 0; i < LOST_PAGES_MAPS; i++) cr_assert(listed[i] = lost_pages_watch(here, 1));
    cr_expect_null(lost_pages_watch(here, 1));
    lost_pages_forget(listed[100]);
    cr_expect_eq(lost_pages_watch(here, 1), listed[100]);
    cr_expect_not(lost_pages_torn(listed[100]));
    for (size_t i = 0; i < LOST_PAGES_MAPS; i++) lost_pages_forget(listed[i]);
    lost_pages_forget(NULL);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static atomic_bool stop;

static void *come_and_go(void *unused)
{
    static const char here[1 << 16];
    while (!atomic_load(&stop)) {
        struct listed_map *small = lost_pages_watch(here, 1), *large = lost_pages_watch(here, sizeof here);
        lost_pages_forget(small);
        lost_pages_forget(large);
    }
    return unused;
}

static void *read_lost(void *data)
{
    const volatile unsigned char *bytes = data;
    uintptr_t sum = 0;
    for (size_t page = 1; page < 64; page++) sum += bytes[(64 - page) * memory_page_bytes()];
    return (void *)sum;
}

Test(lost_pages, several_threads_lose_pages_while_maps_come_and_go)
{
    pthread_t changing, reading[3];
    cr_assert_eq(pthread_create(&changing, NULL, come_and_go, NULL), 0);
    for (int round = 0; round < 20; round++) {
        struct mapped m = map_file(64 * memory_page_bytes());
        cr_assert_eq(ftruncate(fileno(m.file), 10), 0);
        for (int i = 0; i < 3; i++)
            cr_assert_eq(pthread_create(&reading[i], NULL, read_lost, (void *)(uintptr_t)m.data), 0);
        for (int i = 0; i < 3; i++) {
            void *sum;
            pthread_join(reading[i], &sum);
            cr_expect_null(sum, "zeros, whoever replaced them");
        }
        cr_expect(lost_pages_torn(m.listed));
        cr_expect_eq(m.data[9], 7);
        cr_expect_eq(m.data[10], 0);
        unmap_file(&m);
    }
    atomic_store(&stop, true);
    pthread_join(changing, NULL);
    cr_expect_gt(atomic_load(&n_replaced), 0);
}
