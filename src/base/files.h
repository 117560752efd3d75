#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bertrand {

/// A whole file, mapped read-only. Moves, does not copy; the bytes stay where they are while it
/// lives. Throws Error (io) naming the file when it cannot be opened, and (bad_input) when it is
/// not a regular file.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const;

  /// Lets the system take back the memory of pages read so far; they are read again when looked at.
  void release() const;

 private:
  std::span<const std::byte> bytes_;
};

/// Whether something of that name is there, be it a file or not; false where that cannot be found
/// out, too.
bool is_there(const std::filesystem::path& path);

/// The whole file as a string; "-" and /dev/stdin read standard input, /dev/fd/63 and the like (a
/// shell's <(...)) what is open there. Anything else that is not a regular file is refused without
/// waiting for it, for what is called vocab.txt in somebody's folder may be a pipe. Throws Error
/// (io) naming the file, and (bad_input) where it is not a regular file or has more bytes than
/// `most_bytes`; no more of it is read then.
std::string read_file(const std::filesystem::path& path, size_t most_bytes = SIZE_MAX);

/// The same of what the user named as data: a pipe with a name is read, too, and waited for.
std::string read_input(const std::filesystem::path& path);

/// The next line of standard input, without its end; false where there is none. Throws Error (io).
bool read_line(std::string& line);

/// A file that appears under its name complete or not at all: written beside it, flushed to the
/// disk, renamed. If commit() is not called the partial file is removed. A link is followed; what
/// is neither file nor folder (a pipe, /dev/null) is written to as it is. Throws Error (io) naming
/// the file, with what the system said (disk full, no permission).
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);

  /// Brings what was written to the disk; commit() does so, too, and then renames. Of files that
  /// are to appear together each is flushed before the first is committed.
  void flush();
  void commit();

 private:
  [[noreturn]] void fail(const char* doing) const;

  std::filesystem::path path_;     // as given, for messages
  std::filesystem::path place_;    // the same, links followed
  std::filesystem::path partial_;  // what is open; place_ itself where that is no file
  std::FILE* file_ = nullptr;
};

/// Small files that appear together: each is on the disk before the first of them has its name, so
/// that a disk that is full leaves the old ones.
class AtomicFiles {
 public:
  void add(const std::filesystem::path& path, std::string_view text);

  /// In the order in which they were added.
  void commit();

 private:
  std::deque<AtomicFile> files_;
};

/// AtomicFile in one call.
void write_file(const std::filesystem::path& path, std::string_view text);

/// Makes a folder and those it lies in, as far as they are not there. Those made are removed at the
/// end, as far as they are empty, unless keep() is called. Throws Error (io).
class NewFolder {
 public:
  explicit NewFolder(const std::filesystem::path& path);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  void keep() { made_.clear(); }

 private:
  void remove_made() const;

  std::vector<std::filesystem::path> made_;  // the innermost first
};

/// A folder that appears under its name complete or not at all: `fill` writes into a folder beside
/// it, which is then renamed; an existing folder of that name is replaced (in one step where the
/// file system can). The partial folder is new and empty. Throws what `fill` throws, the partial
/// folder removed and in an Error called by the name it was to have, and Error (io).
void write_folder(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path& partial)>& fill);

}  // namespace bertrand
