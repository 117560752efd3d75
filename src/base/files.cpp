#include "base/files.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <iterator>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "base/error.h"

namespace bertrand {
namespace {

std::string system_says() { return std::strerror(errno); }

void flush_folder(const std::filesystem::path& folder) {
  const int handle =
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle >= 0) {
    ::fsync(handle);
    ::close(handle);
  }
}

/// A name beside `path` that no other process uses.
std::filesystem::path name_beside(const std::filesystem::path& path) {
  return path.string() + ".partial-" + std::to_string(::getpid());
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int handle = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (handle < 0) {
    throw Error(ErrorCode::io, path.string() + ": cannot be opened (" + system_says() + ").");
  }
  struct stat status {};
  if (::fstat(handle, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(handle);
    throw Error(ErrorCode::bad_input, path.string() + ": is not a regular file.");
  }
  const auto size = static_cast<size_t>(status.st_size);
  if (size > 0) {
    void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, handle, 0);
    if (start == MAP_FAILED) {
      const std::string reason = system_says();
      ::close(handle);
      throw Error(ErrorCode::io, path.string() + ": cannot be mapped (" + reason + ").");
    }
    bytes_ = {static_cast<const std::byte*>(start), size};
  }
  ::close(handle);
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

std::string_view MappedFile::text() const {
  return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
}

std::string read_file(const std::filesystem::path& path) {
  if (path == "-") {
    return {std::istreambuf_iterator<char>(std::cin), {}};
  }
  std::FILE* file = std::fopen(path.c_str(), "rbe");
  if (file == nullptr) {
    throw Error(ErrorCode::io, path.string() + ": cannot be opened (" + system_says() + ").");
  }
  std::string text;
  char buffer[1 << 16];
  for (size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, file)) > 0;) {
    text.append(buffer, got);
  }
  const bool broken = std::ferror(file) != 0;
  const std::string reason = system_says();
  std::fclose(file);
  if (broken) {
    throw Error(ErrorCode::io, path.string() + ": cannot be read (" + reason + ").");
  }
  return text;
}

AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(std::move(path)), partial_(name_beside(path_)) {
  file_ = std::fopen(partial_.c_str(), "wbe");
  if (file_ == nullptr) {
    fail("cannot be created");
  }
}

AtomicFile::~AtomicFile() {
  if (file_ != nullptr) {
    std::fclose(file_);
    std::error_code ignored;
    std::filesystem::remove(partial_, ignored);
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) {
    fail("cannot be written");
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void AtomicFile::commit() {
  if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) {
    fail("cannot be written");
  }
  if (::rename(partial_.c_str(), path_.c_str()) != 0) {
    fail("cannot be put in place");
  }
  std::fclose(std::exchange(file_, nullptr));
  flush_folder(path_.parent_path());
}

void AtomicFile::fail(const char* doing) const {
  throw Error(ErrorCode::io, path_.string() + ": " + doing + " (" + system_says() + ").");
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void write_folder(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path& partial)>& fill) {
  const std::filesystem::path partial = name_beside(path);
  const std::filesystem::path old = path.string() + ".old-" + std::to_string(::getpid());
  try {
    std::filesystem::remove_all(partial);
    std::filesystem::create_directories(partial);
    fill(partial);
    flush_folder(partial);
    const bool replaces = std::filesystem::exists(path);
    if (replaces) {
      std::filesystem::rename(path, old);
    }
    std::filesystem::rename(partial, path);
    flush_folder(path.parent_path());
    if (replaces) {
      std::filesystem::remove_all(old);
    }
  } catch (const std::filesystem::filesystem_error& error) {
    std::error_code ignored;
    std::filesystem::remove_all(partial, ignored);
    throw Error(ErrorCode::io,
                path.string() + ": cannot be written (" + error.code().message() + ").");
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove_all(partial, ignored);
    throw;
  }
}

}  // namespace bertrand
