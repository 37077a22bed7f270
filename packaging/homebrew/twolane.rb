# Formula for Homebrew on Linux. Not run yet: no Homebrew was there to try it with.
class Twolane < Formula
  desc "Run both halves of a test suite on disposable machines, with and without KVM"
  homepage "https://github.com/twolane/twolane"
  head "https://github.com/twolane/twolane.git", branch: "main"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "rust" => :build
  depends_on :linux
  depends_on "rsync"

  def install
    system "cargo", "install", "--locked", *std_cargo_args(path: "crates/twolane")
    (man1).mkpath
    system bin/"twolane", "man", "--dir", man1
    generate_completions_from_executable(bin/"twolane", "completions")
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/twolane --version") unless head?
    assert_match "could not find twolane.toml", shell_output("#{bin}/twolane plan 2>&1", 2)
  end
end
