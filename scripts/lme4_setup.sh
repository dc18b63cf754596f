#!/usr/bin/env bash
# Sets up the second engine, lme4 through pymer4: what `make lme4` calls. For Debian 12, from its own packages.
#
#   scripts/lme4_setup.sh [--glmmtmb | --packages]      --glmmtmb adds the R package that only the benchmark compares with;
#                                                       --packages prints the names of Debian's packages and does nothing
#
# PYTHON names the interpreter that gets pymer4 (default: the project's .venv). Only apt-get needs root (sudo is used
# where the caller is somebody else); everything else stays inside the project: Python packages in the virtual
# environment, one R package in ./rlib. Running it again does only what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'lme4: %s\n' "$*"; }
stop() { say "$*" >&2; exit 1; }

# -- R and its packages -------------------------------------------------------------------------------------------
# r-base-core is enough: rpy2 is installed in its ABI mode, which needs neither R's nor Python's headers nor a compiler.
wanted=(r-base-core r-cran-lme4 r-cran-lmertest r-cran-emmeans r-cran-broom r-cran-broom.mixed r-cran-tibble
        r-cran-parameters r-cran-performance r-cran-insight r-cran-boot)
[ "${1:-}" = --glmmtmb ] && wanted+=(r-cran-glmmtmb)
[ "${1:-}" = --packages ] && echo "${wanted[@]}" && exit
if command -v apt-get >/dev/null; then
    missing=()
    for package in "${wanted[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        root=()
        if [ "$(id -u)" != 0 ]; then
            command -v sudo >/dev/null || stop "installing ${missing[*]} needs root: run 'make lme4' as root"
            root=(sudo)
        fi
        say "installing from Debian: ${missing[*]}"
        log=$(mktemp)
        { "${root[@]}" apt-get update -qq &&
          "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
        } >"$log" 2>&1 || { tail -n 20 "$log" >&2; stop "apt-get could not install ${missing[*]}"; }
        rm -f "$log"
    fi
else
    say "no apt-get here: R must be there already, with these packages (without r-cran-): ${wanted[*]}"
fi
command -v Rscript >/dev/null || stop "there is no R on the PATH: install R, then run 'make lme4' again"
say "$(Rscript --vanilla -e 'cat(R.version.string, "with lme4", format(packageVersion("lme4")))')"

# -- pymer4 and what it does not declare --------------------------------------------------------------------------
python=${PYTHON:-.venv/bin/python}
if ! command -v "$python" >/dev/null; then
    say "creating .venv"
    python3 -m venv .venv
    python=.venv/bin/python
fi
# The extra's requirements rather than the project itself, so that an editable install stays one.
mapfile -t requirements < <("$python" -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["lme4"], sep="\n")')
say "Python packages: ${requirements[*]}"
log=$(mktemp)
RPY2_CFFI_MODE=ABI "$python" -m pip install -q --disable-pip-version-check --root-user-action=ignore \
    "${requirements[@]}" >"$log" 2>&1 || { tail -n 20 "$log" >&2; stop "pip could not install pymer4's requirements"; }
rm -f "$log"

# -- the R package report, which pymer4 imports and Debian does not have -------------------------------------------
# It goes into ./rlib, never into anybody's own library. Where CRAN answers it is the real package; elsewhere a stand-in
# whose functions stop with a message: this project calls none of them.
have_report='.libPaths(c("rlib", .libPaths())); quit(status = !requireNamespace("report", quietly = TRUE))'
if Rscript -e "$have_report" 2>/dev/null; then
    say "the R package report is there"
else
    work=$(mktemp -d "$PWD/.rlib.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/lib" "$work/report" "$work/report/R"
    say "fetching the R package report from CRAN (two minutes at most)"
    real='options(timeout = 30)
lib <- commandArgs(TRUE)[1]
.libPaths(c(lib, .libPaths()))
install.packages("report", lib = lib, quiet = TRUE)
needed <- c("report", "parameters", "performance", "insight", "lmerTest", "emmeans", "broom.mixed")
quit(status = !all(vapply(needed, requireNamespace, logical(1), quietly = TRUE)))'
    if timeout 120 Rscript -e "$real" "$work/lib" >/dev/null 2>&1; then
        say "report installed from CRAN into rlib"
    else
        rm -rf "$work/lib" && mkdir "$work/lib"
        cat >"$work/report/DESCRIPTION" <<'EOF'
Package: report
Version: 0.0.0.1
Title: Stand-In for the Package 'report'
Description: Lets pymer4 be imported where CRAN cannot be reached; its functions only stop with a message.
Authors@R: person("The ilhte authors", role = c("aut", "cre"), email = "noreply@example.org")
License: MIT
EOF
        echo 'export(report)' >"$work/report/NAMESPACE"
        cat >"$work/report/R/report.R" <<'EOF'
report <- function(...) {
  stop("a stand-in for the R package 'report': install.packages(\"report\") brings the real one", call. = FALSE)
}
EOF
        R CMD INSTALL --no-docs --library="$work/lib" "$work/report" >"$work/log" 2>&1 ||
            { cat "$work/log" >&2; stop "the stand-in for the R package report could not be installed"; }
        say "CRAN cannot be reached: a stand-in for report is in rlib (delete rlib and run this again for the real one)"
    fi
    chmod 755 "$work/lib"
    rm -rf rlib && mv "$work/lib" rlib
fi
say "ready"
