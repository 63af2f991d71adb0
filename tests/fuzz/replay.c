/* Runs a fuzzer's function over the files of its corpus, and over each file cut short: the corpus
 * as a unit test. Bounded: the more files, the fewer cuts of each. */
#include "tests/fuzz/input.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_BYTES_MAX (1u << 20)
#define FILES_MAX 4096u
#ifndef FB_CUTS
#define FB_CUTS 4096u /* of all files together, about */
#endif

static int replay(const char *dir, const char *name, size_t cuts)
{
    char path[4096];
    uint8_t *data;
    size_t n;
    FILE *f;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "rb");
    data = malloc(FILE_BYTES_MAX);
    if (f == NULL || data == NULL) {
        perror(path);
        return 1;
    }
    n = fread(data, 1, FILE_BYTES_MAX, f);
    (void)fclose(f);
    for (size_t cut = 0; cut < n; cut += n / cuts + 1)
        (void)LLVMFuzzerTestOneInput(data, cut);
    (void)LLVMFuzzerTestOneInput(data, n);
    free(data);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(void)
{
    static char *names[FILES_MAX];
    DIR *d = opendir(FB_CORPUS);
    struct dirent *e;
    size_t files = 0;
    int failed = 0;
    if (d == NULL) {
        perror(FB_CORPUS);
        return 1;
    }
    while ((e = readdir(d)) != NULL && files < FILES_MAX)
        if (e->d_name[0] != '.')
            names[files++] = strdup(e->d_name);
    (void)closedir(d);
    qsort(names, files, sizeof(*names), by_name);
    for (size_t i = 0; i < files; i++) {
        failed |= replay(FB_CORPUS, names[i], FB_CUTS / files + 1);
        free(names[i]);
    }
    printf("%zu files of %s\n", files, FB_CORPUS);
    return files == 0 || failed;
}
