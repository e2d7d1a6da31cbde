/* Runs a fuzz target on every file of a folder: the kept corpus, on any compiler. */
#include <dirent.h>
#include <stdio.h>

#include "fuzz.h"

enum { LONGEST = 1 << 16 };

static bool replay(const char *folder, const char *name)
{
    static uint8_t bytes[LONGEST];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        return false;
    }
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, size);
    return true;
}

int main(int count, char **arguments)
{
    DIR *folder = count == 2 ? opendir(arguments[1]) : NULL;
    if (folder == NULL) {
        fprintf(stderr, "expected a folder\n");
        return 2;
    }
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    int files = 0;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] != '.') {
            if (!replay(arguments[1], entry->d_name)) {
                return 1;
            }
            files += 1;
        }
    }
    closedir(folder);
    printf("%d inputs\n", files);
    return files == 0;
}
