#include <stdexcept>

#include "nifti1.h"
#include "scan_file.hpp"

struct ScanFile::Content {
    nifti1_file file;
    ~Content() { nifti1_free(&file); }
};

ScanFile::ScanFile(const std::string &path) : content_(std::make_unique<Content>()) {
    const char *wrong = nifti1_read(path.c_str(), &content_->file);
    if (wrong) throw std::runtime_error(path + ": " + wrong);
}

ScanFile::~ScanFile() = default;

const vm_image &ScanFile::image() const { return content_->file.image; }

void ScanFile::write(const std::string &path, const vm_image &image) const {
    const char *wrong = nifti1_write(path.c_str(), &content_->file, &image);
    if (wrong) throw std::runtime_error(path + ": " + wrong);
}
