# Sets WSTEST, installing the Autobahn Testsuite below SCRATCH if it is not there; to be sourced. It is Python 2 code, and
# these are the last versions of what it needs that work with one another on CPython 2.7.
find_python2() {
  local candidate
  for candidate in "${PY2:-}" "$(command -v pyenv > /dev/null && ls -d "$(pyenv root)"/versions/2.7.*/bin/python2.7 2> /dev/null | tail -n 1)" \
    "$(command -v python2.7)"; do
    [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2> /dev/null \
      && { echo "$candidate"; return; }
  done
  return 1
}

suite=$SCRATCH/autobahn
WSTEST=$suite/venv/bin/wstest
if ! "$WSTEST" -a > /dev/null 2>&1; then
  python2=$(find_python2) || { echo "no CPython 2.7, which the Autobahn Testsuite needs (set PY2)"; exit 77; }
  rm -rf "$suite" && mkdir -p "$suite"
  python3 -m venv "$suite/maker"
  "$suite/maker/bin/pip" -q install 'virtualenv==20.21.1'
  "$suite/maker/bin/virtualenv" -q -p "$python2" "$suite/venv"
  pip() { "$suite/venv/bin/pip" -q --no-python-version-warning install "$@"; }
  pip 'setuptools==44.0.0' 'wheel==0.36.2' 'incremental==16.10.1'
  pip 'cryptography==3.3.2' 'pyOpenSSL==19.1.0' 'service_identity==18.1.0' 'six==1.16.0' 'zope.interface==4.6.0' \
    'txaio==2.1.0' 'jinja2==2.11.3' 'markupsafe==1.1.1' 'Werkzeug==1.0.1' 'klein==17.10.0' 'unittest2==1.1.0'
  pip --no-build-isolation 'Twisted==19.10.0'
  pip --no-build-isolation 'autobahn==0.10.9'
  pip --no-build-isolation --no-deps 'autobahntestsuite==25.10.1'
fi
"$WSTEST" -a
