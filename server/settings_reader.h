// Takes the settings' values from flags, environment and secret files, and collects what is wrong
// with them. Used by settings*.cc while they read; one thread.
#pragma once

#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/settings.h"

namespace steplog::server {

class SettingsReader {
  public:
    /// All three must outlive it. Names below are those of the table of settings; another one
    /// throws std::logic_error.
    SettingsReader(const Environment& environment, const Environment& flags, SettingsRead& read)
        : environment_(environment), flags_(flags), read_(read) {}

    void problem(std::string_view name, std::string_view what);
    void warning(std::string_view name, std::string_view what);
    /// How many have been noted so far.
    std::size_t problems() const { return read_.problems.size(); }

    /// The value in force, or the default; "" when there is neither.
    std::string text(std::string_view name) const;

    /// A secret, from the variable itself, the file that NAME_FILE names, or else systemd's
    /// credential of that name. Nothing when there is none of these; "" when there is a problem,
    /// which is then noted.
    std::optional<std::string> secret(std::string_view name);

    /// Whether NAME_FILE is set for a secret.
    bool is_in_file(std::string_view name) const;

    std::string required_secret(std::string_view name, std::string_view hint);

    /// Checks what was read of a secret, or a part of it.
    void expect_plain(std::string_view name, std::string_view secret);

    /// What these return when there is a problem, which is then noted, is the least that may be.
    Ms duration(std::string_view name, Ms min, Ms max);
    int count(std::string_view name, int max);
    std::size_t size(std::string_view name, std::size_t min, std::size_t max);

    template <class T>
    T choice(std::string_view name, const std::vector<std::pair<std::string_view, T>>& choices,
             T otherwise) {
        const std::string value = text(name);
        if (value.empty()) return otherwise;
        std::vector<std::string_view> words;
        for (const auto& [word, meaning] : choices) {
            if (word == value) return meaning;
            words.push_back(word);
        }
        no_such_choice(name, value, words);
        return otherwise;
    }

    /// Notes what `check` throws as the setting's problem. Its texts hold no secrets.
    template <class Check>
    void expect(std::string_view name, Check&& check) {
        try {
            check();
        } catch (const std::exception& error) {
            problem(name, error.what());
        }
    }

    /// Where a provider lives, without a '/' at the end.
    std::string base_url(std::string_view name);

    /// A page that people are sent to.
    std::string page_url(std::string_view name);

    /// A value's beginning, fit to stand in a message on a terminal.
    static std::string printable(const std::string& value);

  private:
    void no_such_choice(std::string_view name, const std::string& value,
                        const std::vector<std::string_view>& words);
    std::string from_file(const std::string& name, const std::string& path);
    /// "" when systemd handed none over. One that cannot be looked at is named all the same.
    std::string credential_file(std::string_view name) const;

    const Environment& environment_;
    const Environment& flags_;
    SettingsRead& read_;
};

}  // namespace steplog::server
