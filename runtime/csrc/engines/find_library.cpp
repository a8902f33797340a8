#include "engines/find_library.h"

#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <system_error>
#include <vector>

#if defined(__linux__)
#include <link.h>
#endif

namespace vm {

namespace {

namespace fs = std::filesystem;
using Paths = std::vector<fs::path>;

#if defined(_WIN32)
constexpr char list_separator = ';';
#else
constexpr char list_separator = ':';
#endif

std::string variable(const char *name) {
    const char *value = std::getenv(name);
    return value ? value : "";
}

Paths listed(const char *name) {
    Paths result;
    std::istringstream list(variable(name));
    for (std::string part; std::getline(list, part, list_separator);)
        if (!part.empty()) result.emplace_back(part);
    return result;
}

// Entries of a folder whose names begin like this, sorted; none where it cannot be read.
std::set<fs::path> entries(const fs::path &folder, const std::string &beginning) {
    std::set<fs::path> found;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error))
        if (entry->path().filename().string().rfind(beginning, 0) == 0)
            found.insert(entry->path());
    return found;
}

// Where a Python that is installed under a prefix has a package.
void add_packages(const fs::path &prefix, const std::string &package, Paths &folders) {
    for (const char *lib : {"lib", "lib64"})
        for (const fs::path &python : entries(prefix / lib, "python3"))
            for (const char *packages : {"site-packages", "dist-packages"})
                folders.push_back(python / packages / package);
}

// Folders of libraries that the process has loaded.
Paths loaded_folders() {
    Paths folders;
#if defined(__linux__)
    const auto add = [](dl_phdr_info *info, size_t, void *into) {
        if (info->dlpi_name && *info->dlpi_name)
            static_cast<Paths *>(into)->push_back(fs::path(info->dlpi_name).parent_path());
        return 0;
    };
    dl_iterate_phdr(add, &folders);
#endif
    return folders;
}

Paths folders_to_search(const std::string &package) {
    Paths folders = loaded_folders();
    for (const fs::path &folder : listed("LD_LIBRARY_PATH")) folders.push_back(folder);
    for (const char *name : {"VIRTUAL_ENV", "CONDA_PREFIX"})
        if (!variable(name).empty()) add_packages(variable(name), package, folders);
    for (const fs::path &folder : listed("PYTHONPATH")) folders.push_back(folder / package);
    std::error_code error;
    for (const fs::path &folder : listed("PATH"))
        if (fs::exists(folder / "python3", error))
            add_packages(folder.parent_path(), package, folders);
    if (!variable("HOME").empty())
        add_packages(fs::path(variable("HOME")) / ".local", package, folders);
    for (const char *folder : {"/usr/local/lib", "/usr/local/lib64", "/usr/lib/x86_64-linux-gnu",
                               "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
                               "/opt/intel/openvino/runtime/lib/intel64"})
        folders.emplace_back(folder);
    return folders;
}

}  // namespace

std::string find_library(const std::string &name, const std::string &package,
                         const std::string &version) {
#if defined(_WIN32)
    const std::string file = name + (version.empty() ? "" : "_" + version) + ".dll";
#elif defined(__APPLE__)
    const std::string file = "lib" + name + (version.empty() ? "" : "." + version) + ".dylib";
#else
    const std::string file = "lib" + name + ".so" + (version.empty() ? "" : "." + version);
#endif
    std::set<fs::path> seen;
    for (const fs::path &folder : folders_to_search(package)) {
        if (!seen.insert(folder).second) continue;
        const std::set<fs::path> found = entries(folder, file);
        if (!found.empty()) return found.rbegin()->string();
    }
    return "";
}

}  // namespace vm
