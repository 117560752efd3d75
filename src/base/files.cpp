#include "base/files.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <memory>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"

namespace bertrand {
namespace {

constexpr const char* kStandardInput = "standard input";

std::string system_says() { return std::strerror(errno); }

[[noreturn]] void fail_to_open(const std::filesystem::path& path) {
  throw Error(ErrorCode::io, path.string() + ": cannot be opened (" + system_says() +
                                 "); give a file that is there and may be read.");
}

/// All that is left in a file, to its end. `where` names it in an error.
std::string read_all(std::FILE* file, const std::string& where, size_t most_bytes) {
  std::string text;
  char buffer[1 << 16];
  for (size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, file)) > 0;) {
    if (got > most_bytes - text.size()) {
      throw Error(ErrorCode::bad_input, where + ": has more than " + std::to_string(most_bytes) +
                                            " bytes, the most such a file may have.");
    }
    text.append(buffer, got);
  }
  if (std::ferror(file) != 0) {
    throw Error(ErrorCode::io, where + ": cannot be read (" + system_says() + ").");
  }
  return text;
}

void flush_folder(const std::filesystem::path& folder) {
  const int handle =
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle >= 0) {
    ::fsync(handle);
    ::close(handle);
  }
}

/// Makes something new beside `path` and gives its name. `make` fails with EEXIST where a name is
/// taken, and the next one is tried: the numbers of processes come again, in containers soon, and
/// what another left or put there is not ours. Empty where it fails otherwise; errno says why.
std::filesystem::path make_beside(const std::filesystem::path& path, const char* what,
                                  const std::function<bool(const char* name)>& make) {
  static std::atomic<unsigned> names{0};
  for (;;) {
    std::string name = fmt::format("{}.{}-{}-{}", path.string(), what, ::getpid(), names++);
    if (make(name.c_str())) return name;
    if (errno != EEXIST) return {};
  }
}

/// The same of an empty folder. Throws filesystem_error.
std::filesystem::path make_folder_beside(const std::filesystem::path& path, const char* what) {
  std::filesystem::path made =
      make_beside(path, what, [](const char* name) { return ::mkdir(name, 0777) == 0; });
  if (made.empty()) {
    throw std::filesystem::filesystem_error("mkdir", path,
                                            std::error_code(errno, std::generic_category()));
  }
  return made;
}

/// The place itself: links followed (a rename would replace the link, not what it points to), and
/// no slash at the end (a name beside it would lie inside it).
std::filesystem::path real_place(const std::filesystem::path& path) {
  if (path.empty()) {
    throw Error(ErrorCode::io, "An empty path was given where a file or folder is to be written.");
  }
  std::error_code failed;
  std::filesystem::path place = std::filesystem::weakly_canonical(path, failed);
  if (failed) {
    throw Error(ErrorCode::io, fmt::format("{}: cannot be used as a place to write ({}).",
                                           path.string(), failed.message()));
  }
  return place.has_filename() ? place : place.parent_path();
}

/// Puts `fresh` in the place of the folder `path` in one step, or in two where the file system
/// cannot exchange names. Gives the place where what was there before lies now.
std::filesystem::path replace_folder(const std::filesystem::path& fresh,
                                     const std::filesystem::path& path) {
  if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
    return fresh;
  }
  std::filesystem::path old = make_folder_beside(path, "old");  // an empty one gives way
  std::error_code failed;
  std::error_code ignored;
  std::filesystem::rename(path, old, failed);
  if (!failed) {
    std::filesystem::rename(fresh, path, failed);
    if (failed) std::filesystem::rename(old, path, ignored);
  }
  if (failed) {
    std::filesystem::remove(old, ignored);  // only where it is empty
    throw std::filesystem::filesystem_error("rename", fresh, path, failed);
  }
  return old;
}

/// `text` with the name that a folder is to have instead of that under which it is written: nobody
/// gave that one, and it is gone when the text is read.
std::string with_final_name(std::string text, const std::filesystem::path& partial,
                            const std::filesystem::path& path) {
  const std::string from = partial.string();
  const std::string to = (path.has_filename() ? path : path.parent_path()).string();
  for (size_t at = 0; !from.empty() && (at = text.find(from, at)) != std::string::npos;) {
    text.replace(at, from.size(), to);
    at += to.size();
  }
  return text;
}

/// A handle of a regular file, and what it is. Not blocking: opening a pipe would otherwise wait
/// for a writer, only to refuse it.
int open_regular(const std::filesystem::path& path, struct stat& status) {
  const int handle = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (handle < 0) {
    fail_to_open(path);
  }
  if (::fstat(handle, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(handle);
    throw Error(
        ErrorCode::bad_input,
        path.string() +
            ": is not a regular file; give one (what comes through a pipe must be put into one "
            "first).");
  }
  return handle;
}

/// A name for what is open already, /dev/fd/63, which nothing in a folder of files has. Not all of
/// /dev: /dev/shm holds such folders.
bool names_an_open_file(const std::filesystem::path& path) {
  const std::string name = path.string();
  return name == "/dev/stdin" || name.starts_with("/dev/fd/") || name.starts_with("/proc/");
}

/// All of the file that was opened; nullptr: it could not be.
std::string read_opened(std::FILE* opened, const std::filesystem::path& path, size_t most_bytes) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(opened, &std::fclose);
  if (file == nullptr) {
    fail_to_open(path);
  }
  return read_all(file.get(), path.string(), most_bytes);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  struct stat status {};
  const int handle = open_regular(path, status);
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

void MappedFile::release() const {
  if (!bytes_.empty()) {
    ::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
  }
}

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

std::string read_file(const std::filesystem::path& path, size_t most_bytes) {
  if (path == "-") {
    return read_all(stdin, kStandardInput, most_bytes);
  }
  struct stat ignored {};
  return read_opened(names_an_open_file(path) ? std::fopen(path.c_str(), "rbe")
                                              : ::fdopen(open_regular(path, ignored), "rb"),
                     path, most_bytes);
}

std::string read_input(const std::filesystem::path& path) {
  if (path == "-") {
    return read_all(stdin, kStandardInput, SIZE_MAX);
  }
  return read_opened(std::fopen(path.c_str(), "rbe"), path, SIZE_MAX);
}

bool read_line(std::string& line) {
  if (std::getline(std::cin, line)) {
    return true;
  }
  if (std::ferror(stdin) != 0) {
    throw Error(ErrorCode::io,
                std::string(kStandardInput) + ": cannot be read (" + system_says() + ").");
  }
  return false;
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  place_ = real_place(path_);
  std::error_code ignored;
  const auto type = std::filesystem::status(place_, ignored).type();
  if (type == std::filesystem::file_type::directory) {
    throw Error(ErrorCode::io, path_.string() + ": is a folder, where a file is to be written.");
  }
  // A device or a pipe is written to as it is: a rename would put a file in its place.
  const bool is_file =
      type == std::filesystem::file_type::regular || type == std::filesystem::file_type::not_found;
  if (is_file) {
    partial_ = make_beside(place_, "partial", [this](const char* name) {
      file_ = std::fopen(name, "wbxe");
      return file_ != nullptr;
    });
  } else {
    partial_ = place_;
    file_ = std::fopen(place_.c_str(), "wbe");
  }
  if (file_ == nullptr) {
    fail("cannot be created");
  }
}

AtomicFile::~AtomicFile() {
  if (file_ != nullptr) {
    std::fclose(file_);
    if (partial_ != place_) {
      std::error_code ignored;
      std::filesystem::remove(partial_, ignored);
    }
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

void AtomicFile::flush() {
  const bool is_file = partial_ != place_;
  if (std::fflush(file_) != 0 || (is_file && ::fsync(::fileno(file_)) != 0)) {
    fail("cannot be written");
  }
}

void AtomicFile::commit() {
  flush();
  const bool is_file = partial_ != place_;
  if (is_file && ::rename(partial_.c_str(), place_.c_str()) != 0) {
    fail("cannot be put in place");
  }
  std::fclose(std::exchange(file_, nullptr));
  if (is_file) {
    flush_folder(place_.parent_path());
  }
}

void AtomicFile::fail(const char* doing) const {
  throw Error(ErrorCode::io, path_.string() + ": " + doing + " (" + system_says() + ").");
}

void AtomicFiles::add(const std::filesystem::path& path, std::string_view text) {
  AtomicFile& file = files_.emplace_back(path);
  file.write(text);
  file.flush();
}

void AtomicFiles::commit() {
  for (AtomicFile& file : files_) file.commit();
  files_.clear();
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

NewFolder::NewFolder(const std::filesystem::path& path) {
  std::error_code failed;
  for (std::filesystem::path folder = std::filesystem::weakly_canonical(path, failed);
       folder.has_relative_path() && !is_there(folder); folder = folder.parent_path()) {
    made_.push_back(folder);
  }
  std::filesystem::create_directories(path, failed);
  if (failed) {
    remove_made();
    throw Error(ErrorCode::io,
                fmt::format("{}: cannot be created ({}).", path.string(), failed.message()));
  }
}

NewFolder::~NewFolder() { remove_made(); }

void NewFolder::remove_made() const {
  for (const std::filesystem::path& folder : made_) {
    std::error_code ignored;
    std::filesystem::remove(folder, ignored);  // only where it is empty
  }
}

void write_folder(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path& partial)>& fill) {
  const std::filesystem::path place = real_place(path);
  const bool replaces = std::filesystem::exists(place);
  if (replaces && !std::filesystem::is_directory(place)) {
    throw Error(ErrorCode::io, path.string() + ": is a file, where a folder is to be written.");
  }
  std::filesystem::path partial;
  std::filesystem::path before;  // what was in the place
  std::error_code ignored;
  try {
    if (place.has_parent_path()) std::filesystem::create_directories(place.parent_path());
    partial = make_folder_beside(place, "partial");
    fill(partial);
    flush_folder(partial);
    if (replaces) {
      before = replace_folder(partial, place);
    } else {
      std::filesystem::rename(partial, place);
    }
  } catch (const Error& error) {
    std::filesystem::remove_all(partial, ignored);
    throw Error(error.code(), with_final_name(error.what(), partial, path));
  } catch (const std::filesystem::filesystem_error& error) {
    std::filesystem::remove_all(partial, ignored);
    throw Error(ErrorCode::io,
                fmt::format("{}: cannot be written ({}).", path.string(), error.code().message()));
  } catch (...) {
    std::filesystem::remove_all(partial, ignored);
    throw;
  }
  flush_folder(place.parent_path());
  std::filesystem::remove_all(before, ignored);
}

}  // namespace bertrand
