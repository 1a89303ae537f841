"""The YAML of an `incremental_custom` export as that of its standard equivalent."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from ruamel.yaml.error import YAMLError

from catalog import rewrite
from catalog.definition import CUSTOM_KEYS, Export
from catalog.errors import Code, ExportError
from catalog.load import Catalog, read_export
from catalog.yaml_file import shown
from deployments.compile import definition_yaml


def standard_text(catalog: Catalog, written: str, export: Export) -> str:
    """What is `written` of the export, without its customisations; comments and the order of the keys are kept.

    Where they cannot be, as in YAML of one line, it is written anew.
    """
    standard = export.standard_equivalent
    assert standard is not None, "only an incremental_custom export has a standard equivalent"
    try:
        text = rewrite.with_text(rewrite.without(written, CUSTOM_KEYS), "type", standard.type, quoted=False)
    except (YAMLError, StopIteration):
        return definition_yaml(standard)
    return text if _reads_as(catalog, text, standard) else definition_yaml(standard)


def _reads_as(catalog: Catalog, text: str, wanted: Export) -> bool:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{wanted.id}.yaml"
        path.write_text(text, encoding="utf-8")
        return read_export(path, catalog.folder) == wanted


def rewrite_as_standard(catalog: Catalog, export_id: str) -> None:
    """Put the standard equivalent in the place of the catalog's definition, where that is an incremental_custom one.

    Raises ExportError when the definition does not load, was changed by somebody else meanwhile, or cannot be written.
    """
    path = catalog.path_of(export_id)
    if not path.exists():
        return
    export = catalog.export(export_id)
    if export.standard_equivalent is not None:
        before = path.read_text(encoding="utf-8")
        try:
            rewrite.replace(path, before, standard_text(catalog, before, export))
        except OSError as error:
            raise ExportError(
                Code.DEFINITION_INVALID,
                f"{shown(path)} cannot be written: {error.strerror}",
                "let this account write it",
                file=shown(path),
            ) from error
