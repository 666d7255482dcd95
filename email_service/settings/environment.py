"""How one variable is found: in the environment, in a `.env` file, or in the file that `NAME_FILE` points to.

Notes every mistake instead of stopping at the first. Knows neither the variables' names nor their meaning.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from environs import FileAwareEnv, ValidationError

from email_service.kernel.errors import Fault
from email_service.settings.variables import Variable


class Environment(FileAwareEnv):
    """environs' reader over a given mapping, in which an empty value is no value and two sources are a mistake."""

    def __init__(self, variables: Mapping[str, str], env_file: Path | None) -> None:
        super().__init__()
        self.faults: list[Fault] = []
        self._wrong: set[str] = set()
        if env_file is not None:
            self._read_file(env_file)
        self._found = {**self._environ, **variables}

    def read(self, name: str, variable: Variable) -> Any:
        """The variable's value, or its default when it is unset; None when it is wrong, which is noted."""
        noted = len(self.faults)
        value = self._parsed(name, variable)
        if len(self.faults) > noted:
            self._wrong.add(name)
        return value

    def text(self, name: str) -> str | None:
        """The variable as it was written, or None when it is unset or cannot be read."""
        try:
            return self.str(name, None)
        except ValidationError as error:
            self.faults.append(Fault(name, str(error.messages[0])))
            return None

    def names(self, prefix: str) -> list[str]:
        """The variables that are set and begin like this, in alphabetical order."""
        return sorted(name for name, text in self._found.items() if name.startswith(prefix) and text.strip())

    def is_wrong(self, *names: str) -> bool:
        """Whether reading one of these variables, by its own name or its alias, noted a mistake."""
        return not self._wrong.isdisjoint(names)

    def _parsed(self, name: str, variable: Variable) -> Any:
        text, used = self.text(name), name
        other = self.text(variable.alias) if variable.alias else None
        if text is not None and other is not None and text.strip() != other.strip():
            self.faults.append(Fault(name, f"{variable.alias} says something else; keep only one of the two."))
        if text is None and other is not None:
            text, used = other, variable.alias or name
        if text is None:
            return variable.default() if callable(variable.default) else variable.default
        try:
            return variable.parse(text)
        except ValueError as error:
            self.faults.append(Fault(used, str(error)))
            return None

    def _read_file(self, env_file: Path) -> None:
        try:
            self.read_env(env_file, recurse=False)
        except (OSError, ValueError):
            self.faults.append(Fault(str(env_file), "cannot be read; make it a readable text file in UTF-8."))

    def _get_value(self, env_key: str, default: Any) -> Any:
        path_key = f"{env_key}{self.file_suffix}"
        text, path = self._found.get(env_key, ""), self._found.get(path_key, "").strip()
        if text.strip() and path:
            raise ValidationError(f"is set, and so is {path_key}; keep only one of the two.")
        if path:
            text = _content(path_key, Path(path))
        return text if text.strip() else default


def _content(path_key: str, path: Path) -> str:
    try:
        # Secret stores and editors end a file with a line break that is no part of the secret.
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise ValidationError(f"{path_key} has to be the path of a readable text file in UTF-8.") from error
