/* Limits of memory, with control groups made of ordinary files: both versions, limits of groups above, file cache. */
#include "base/memory_limit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/memory.h"
#include "folder.h"

static struct test_folder folder;

static void group(const char *path, const char *limit_name, const char *limit, const char *used_name, const char *used,
                  const char *stat)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s", path, limit_name);
    if (limit) folder_write_text(&folder, name, limit);
    snprintf(name, sizeof name, "%s/%s", path, used_name);
    if (used) folder_write_text(&folder, name, used);
    snprintf(name, sizeof name, "%s/memory.stat", path);
    if (stat) folder_write_text(&folder, name, stat);
}

static void group2(const char *path, const char *limit, const char *used, const char *stat)
{
    group(path, "memory.max", limit, "memory.current", used, stat);
}

static void group1(const char *path, const char *limit, const char *used, const char *stat)
{
    group(path, "memory.limit_in_bytes", limit, "memory.usage_in_bytes", used, stat);
}

static uint64_t left(const char *groups)
{
    folder_write_text(&folder, "self", groups);
    char self[600];
    snprintf(self, sizeof self, "%s", folder_path(&folder, "self"));
    return memory_group_left(self, folder_path(&folder, "sys"));
}

static void begin(void) { folder_create(&folder); }
static void end(void) { folder_remove(&folder); }
TestSuite(memory_limit, .init = begin, .fini = end);

Test(memory_limit, the_group_itself)
{
    group2("sys/user/app", "1000000\n", "300000\n", NULL);
    cr_expect_eq(left("0::/user/app\n"), 700000u);
    group2("sys/user/app", "1000000\n", "1300000\n", NULL);
    cr_expect_eq(left("0::/user/app\n"), 0u, "more is used than allowed");
    group2("sys/user/app", "max\n", "300000\n", NULL);
    cr_expect_eq(left("0::/user/app\n"), UINT64_MAX);
    group2("sys/user/app", "99999999999999999999999\n", "300000\n", NULL);
    cr_expect_gt(left("0::/user/app\n"), UINT64_C(1) << 62, "too large a number is no small one");
    group2("sys/user/app", "", "300000\n", NULL);
    cr_expect_eq(left("0::/user/app\n"), UINT64_MAX);
}

Test(memory_limit, every_group_above_counts)
{
    group2("sys/a/b/c", "max\n", "10\n", NULL);
    group2("sys/a/b", "5000\n", "1000\n", NULL);
    group2("sys/a", "6000\n", "2500\n", NULL);
    cr_expect_eq(left("0::/a/b/c\n"), 3500u);
    group2("sys", "7000\n", "6900\n", NULL); /* a container sees its own limit there */
    cr_expect_eq(left("0::/a/b/c\n"), 100u);
    cr_expect_eq(left("0::/\n"), 100u);
    cr_expect_eq(left("0::/not/visible/here\n"), 100u, "the path is that outside of the container");
    cr_expect_eq(left("0::/../elsewhere\n"), 100u);
}

Test(memory_limit, the_kernel_slows_a_group_down_before_it_kills)
{
    group2("sys/a", "9000\n", "1000\n", NULL);
    folder_write_text(&folder, "sys/a/memory.high", "4000\n");
    cr_expect_eq(left("0::/a\n"), 3000u);
    folder_write_text(&folder, "sys/a/memory.high", "max\n");
    cr_expect_eq(left("0::/a\n"), 8000u);
}

Test(memory_limit, file_cache_can_be_given_back)
{
    static const char stat[] = "anon 200\nfile 7000\ninactive_anon 1\ninactive_file 4000\nactive_file 2500\nslab 7\n";
    group2("sys/a", "9000\n", "8000\n", stat);
    cr_expect_eq(left("0::/a\n"), 7500u);
    group2("sys/a", "9000\n", "5000\n", stat);
    cr_expect_eq(left("0::/a\n"), 9000u, "figures of two moments may contradict each other");
    group1("sys/memory/a", "9000\n", "8000\n", "inactive_file 4000\ntotal_inactive_file 300\ntotal_active_file 20\n");
    cr_expect_eq(left("3:memory:/a\n"), 1320u, "of version 1 the sums over the groups below");
}

Test(memory_limit, version_1)
{
    group1("sys/memory/docker/x", "8000\n", "1000\n", NULL);
    group1("sys/memory/docker", "9223372036854771712\n", "2000\n", NULL);
    group1("sys/memory", "9223372036854771712\n", "2000\n", NULL);
    cr_expect_eq(left("5:cpu,cpuacct:/\n4:memory:/docker/x\n0::/\n"), 7000u);
    cr_expect_eq(left("4:hugetlb,memory:/docker/x\n"), 7000u);
    cr_expect_eq(left("4:memory,cpu:/docker/x\n"), 7000u);
    cr_expect_gt(left("4:mymemory,memory2:/docker/x\n"), UINT64_C(1) << 62, "another controller");
    cr_expect_gt(left("4:memory:/\n"), UINT64_C(1) << 60);
    group2("sys", "500\n", "100\n", NULL);
    cr_expect_eq(left("4:memory:/docker/x\n0::/\n"), 400u, "both versions");
}

Test(memory_limit, odd_files_are_no_limit)
{
    static const char *const texts[] = {"",         "\n",     "0\n",        "0:\n",      "0::\n",       "0::x\n",
                                        ":::::\n",  "0::/",   "4:memory:",  "4:memory:/", "\n\n0::/\n\n", "4\n:\n::\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        cr_expect_eq(left(texts[i]), UINT64_MAX, "text %zu", i);
    cr_expect_eq(memory_group_left("/no/such/file", "/sys/fs/cgroup"), UINT64_MAX);
    char deep[9000] = "0::";
    for (size_t n = 3; n + 3 < sizeof deep; n += 2) memcpy(deep + n, "/a", 3);
    cr_expect_eq(left(deep), UINT64_MAX, "a path longer than any");
}

extern void __sanitizer_print_stack_trace(void) __attribute__((weak));

Test(memory_limit, ulimit_counts)
{
    if (__sanitizer_print_stack_trace) cr_skip_test("sanitizers take terabytes of addresses");
    const uint64_t room = 64 << 20;
    static const int resources[] = {RLIMIT_DATA, RLIMIT_AS};
    for (int i = 0; i < 2; i++) {
        struct rlimit old, now;
        getrlimit((__rlimit_resource_t)resources[i], &old);
        now = (struct rlimit){room + (i ? (UINT64_C(1) << 32) : 0), old.rlim_max};
        if (setrlimit((__rlimit_resource_t)resources[i], &now) != 0) cr_skip_test("not allowed");
        struct rlimit set;
        getrlimit((__rlimit_resource_t)resources[i], &set);
        const uint64_t bytes = memory_rlimit_left(), all = memory_available();
        setrlimit((__rlimit_resource_t)resources[i], &old);
        if (set.rlim_cur != now.rlim_cur) cr_skip_test("an emulator keeps limits to itself");
        cr_expect(bytes > 0 && bytes < now.rlim_cur, "%llu of %llu", (unsigned long long)bytes,
                  (unsigned long long)now.rlim_cur);
        cr_expect_leq(all, bytes);
    }
}

Test(memory_limit, the_machine_tells)
{
    const uint64_t machine = memory_machine_left(), all = memory_available();
    cr_expect(machine > UINT64_C(1) << 20 && machine < UINT64_C(1) << 50, "%llu", (unsigned long long)machine);
    cr_expect_gt(all, 0u);
}
