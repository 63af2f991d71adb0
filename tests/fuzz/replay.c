/* Runs a fuzzer's function over the files of its corpus, and over each file cut short: the corpus
 * as a unit test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_BYTES_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int replay(const char *dir, const char *name)
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
    for (size_t cut = 0; cut <= n; cut += n / 256 + 1)
        (void)LLVMFuzzerTestOneInput(data, cut);
    (void)LLVMFuzzerTestOneInput(data, n);
    free(data);
    return 0;
}

int main(void)
{
    DIR *d = opendir(FB_CORPUS);
    struct dirent *e;
    int files = 0, failed = 0;
    if (d == NULL) {
        perror(FB_CORPUS);
        return 1;
    }
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        failed |= replay(FB_CORPUS, e->d_name);
        files++;
    }
    (void)closedir(d);
    printf("%d files of %s\n", files, FB_CORPUS);
    return files == 0 || failed;
}
