#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/json_fwd.h"

namespace fledge::train {

/// The log of a run: one JSON object a line, {"step": completed steps, ...}, appended as the run goes.
///
/// A record reaches the system in one write, so a killed process leaves whole lines, or at worst a torn last one: the
/// kernel copies a write page by page and gives up between two pages when the process is killed. Opening the log to
/// resume drops what cannot be read and what lies after the resumed step, so that the repeated steps are not there
/// twice.
class MetricsWriter {
 public:
  /// Starts a new log: an older file of that name is replaced.
  static MetricsWriter create(const std::filesystem::path& path);
  /// Goes on with the log of a run that is resumed after `completed_steps`. A file that does not exist is created.
  static MetricsWriter resume(const std::filesystem::path& path, int64_t completed_steps);

  ~MetricsWriter();
  MetricsWriter(MetricsWriter&& other) noexcept;
  MetricsWriter& operator=(MetricsWriter&&) = delete;

  /// Appends {"step": step, ...values}. A number that is not finite is written as null. Throws Error (full disk, ...);
  /// a partly written line is taken back.
  void write(int64_t step, const base::OrderedJson& values);
  /// Makes sure that everything written so far survives a loss of power (before a checkpoint is complete).
  void sync();

 private:
  MetricsWriter(std::filesystem::path path, int descriptor);
  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

/// The records of a log in order; lines that are not whole records are left out.
std::vector<base::Json> read_metrics(const std::filesystem::path& path);

}  // namespace fledge::train
