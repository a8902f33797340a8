#include "logging.h"

#include <atomic>
#include <exception>
#include <string>

namespace vm {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder = finder; }

void log_error(const char* fact, const char* detail) noexcept {
    nvinfer1::ILoggerFinder* finder = logger_finder;
    nvinfer1::ILogger* logger = finder == nullptr ? nullptr : finder->findLogger();
    if (logger == nullptr) return;  // the caller's status still says that something failed
    try {
        const std::string text = std::string(fact) + (*detail ? " " : "") + detail;
        logger->log(nvinfer1::ILogger::Severity::kERROR, text.c_str());
    } catch (const std::exception&) {
        logger->log(nvinfer1::ILogger::Severity::kERROR, fact);
    }
}

}  // namespace vm
