"""The catalogue of errors: every code with what it means and what to do about it, in general.

What is wrong in a certain case, and where, is said by whoever raises it (`curate.core.errors.error`). This is the only list
of codes: `docs/errors.md` is generated from it, and tests provoke each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Entry:
    """What a code means and what to do about it: one entry of `docs/errors.md`."""

    title: str
    meaning: str
    remedy: str


CATALOGUE: Final[dict[str, Entry]] = {
    "C101": Entry(
        "The config is not YAML",
        "The file cannot be read as YAML 1.2 in UTF-8 with a mapping at its top: a syntax error, a tab, "
        "a key given twice, an alias without anchor, or a file that is not there.",
        "Correct the line that is shown. Quote a value that holds `: ` or ` #`, and indent with spaces.",
    ),
    "C102": Entry(
        "A value does not fit",
        "A key has a value of another type, or outside what it may be. A quoted number is text, and `3` "
        "is no text.",
        "Give the key a value of the kind that the message names.",
    ),
    "C103": Entry(
        "Unknown key",
        "Nothing reads this key here, so it would have no effect.",
        "Correct the spelling, or remove the key. `curate stages NAME` lists the options of a step.",
    ),
    "C104": Entry("A key is missing", "A key that has no default is not there.", "Add the key."),
    "C105": Entry(
        "Unknown step",
        "No module of `lid`, `filters`, `dedup` or of an installed package has the name after `use:`.",
        "Correct the name; `curate stages` lists the steps there are.",
    ),
    "C106": Entry(
        "An expression cannot be read",
        "The text of `select:`, `when:` or `where:` is not a condition, or the pattern of `matches` is "
        "not a regular expression.",
        "Correct the place under the carets. Texts stand in quotes; conditions are joined by `and` and `or`.",
    ),
    "C107": Entry(
        "Unknown language",
        "A language is written in another way than ISO 639-3 and script, so it would match no document.",
        "Write it like `deu_Latn`; the message suggests the code that is probably meant.",
    ),
    "C108": Entry(
        "Two things have one name",
        "Two steps, inputs or outputs have the same name, so that their columns or files could not be "
        "told apart.",
        "Give one of them another name: `as:` for a step, `name:` for an input or output.",
    ),
    "C109": Entry(
        "An environment variable is not set",
        "A path uses `$NAME` or `${NAME}`, and the environment has no such variable.",
        "Export it, or give a default: `${NAME:-data}`.",
    ),
    "C110": Entry(
        "An override does not fit",
        "`--set key.path=value` has no `=`, names an item that is not there, or has a value that is not "
        "YAML.",
        "Write it like `--set steps.lid.top_k=3` or `--set execution.workers=4`.",
    ),
    "C111": Entry(
        "A file of thresholds does not fit",
        "A file named by `thresholds:` cannot be read, is named after no language, or has a key that no rule filter "
        "knows or a value that its option cannot take.",
        "Correct the file; the keys are the options of the rule filters, and FineWeb-2's names for them.",
    ),
    "C201": Entry(
        "A column is not there",
        "A step or an output asks for a column that neither the input nor a step before it has.",
        "Correct the name, or move the step behind the one that writes the column.",
    ),
    "C202": Entry(
        "Two outputs in one place",
        "Two outputs or indexes, or an output and the run folder or an input, lie in one another.",
        "Give each output and index a folder of its own.",
    ),
    "C203": Entry(
        "An input matches nothing",
        "No file fits a path or pattern of `input:`, or two files would have the same name.",
        "Correct the pattern; the message names the nearest folder that exists.",
    ),
    "C204": Entry(
        "Inputs do not fit together",
        "A column has one type in one file and another type in another.",
        "Give it one type under `columns:`, or another name in one of the inputs.",
    ),
    "C205": Entry(
        "An output cannot be written",
        "The folder of an output cannot be made or written, or holds data that this run did not write.",
        "Choose another `path`, change its permissions, or move the other data away.",
    ),
    "C206": Entry(
        "Types do not fit",
        "An expression compares, adds or searches values of kinds that do not go together, such as text "
        "and a number.",
        "Compare like with like: numbers without quotes, texts in quotes.",
    ),
    "C207": Entry(
        "Unknown model",
        "No model is registered under that name.",
        "Correct the name; `curate models` lists the models there are.",
    ),
    "C208": Entry(
        "A step cannot be used this way",
        "`mode:` or `over:` is given to a step that it has no meaning for.",
        "Remove the key, or use another step.",
    ),
    "C209": Entry(
        "An index cannot be used",
        "`against:` names something that is no index, one of another step or of other parameters, or a damaged one.",
        "Name an index that the same step wrote with the same parameters, or make one with `index:`.",
    ),
    "C220": Entry(
        "Too many files",
        "The run would keep more files in its run folder than `execution.max_files` allows.",
        "Raise `execution.max_files`, or put the input into fewer and larger files.",
    ),
    "R301": Entry(
        "Inputs have changed",
        "Files are not what they were when the run was planned: added, removed, or written anew. Of a step's own files "
        "(models, thresholds, test sets) workers say so that find others than the plan was made with.",
        "`--update` takes new files into the run, `--force` starts anew. After a change of a step's own files run again.",
    ),
    "R302": Entry(
        "The run folder is in use",
        "Another process works in this run folder.",
        "Wait until it has ended, or give this run a folder of its own with `--run-dir`.",
    ),
    "R303": Entry(
        "A task failed",
        "A task ended with an error, on every attempt.",
        "Correct what the message says and run again; finished units are kept.",
    ),
    "R304": Entry(
        "A worker was killed",
        "The system ended a worker process, mostly because memory ran out.",
        "Use fewer workers, or give the run more memory, and run again.",
    ),
    "R305": Entry(
        "The ledger does not balance",
        "Rows in are not rows kept, dropped and quarantined. Nothing is published.",
        "This is a fault of curate or of a step: report it with the run folder's `plan.json` and `counters`.",
    ),
    "R306": Entry(
        "A recorded output is missing",
        "A file that a finished unit wrote is gone or has another size.",
        "Run again; what is missing is computed anew.",
    ),
    "R307": Entry(
        "There is no such run",
        "The argument is neither a run folder, nor the name of a run below `runs/`, nor a config that "
        "was run.",
        "Give the config file, or the run folder.",
    ),
    "R308": Entry(
        "There is no such document",
        "No document of the run has that id or number.",
        "Copy the id from the data, from `curate inspect` or from a report.",
    ),
    "R309": Entry(
        "Not a run folder of this version",
        "The folder holds something else, a damaged plan, or a run of another version of curate.",
        "Choose a new folder with `--run-dir`, use the version that made it, or start anew with `--force`.",
    ),
    "R310": Entry(
        "Interrupted",
        "The run was stopped by a signal.",
        "Run again; it continues with what is not finished.",
    ),
    "R311": Entry(
        "Too much would be removed",
        "A deduplication would remove a larger part of all documents, of a source or of a language, or has a larger "
        "cluster, than its ceilings allow. Nothing is dropped or published.",
        "Look at the pairs in the file that the message names, or with `curate dedup pairs RUN`. If they are "
        "duplicates, raise the ceiling that is named and run again; what is done stays.",
    ),
    "R312": Entry(
        "Another index is there",
        "The folder that `index:` names holds something else than what this run would write.",
        "Name a new folder: an index grows into another one, and never changes.",
    ),
    "R313": Entry(
        "Too many answers are invalid",
        "A language model was asked for something, such as a score, and more of its answers than `max_invalid_frac` "
        "allows hold none, or the server refused the prompts.",
        "Look at an answer: the message has one. Another model, more `max_tokens` or a shorter text may help; if so many "
        "may fail, raise `max_invalid_frac` and run again.",
    ),
    "R320": Entry(
        "The time limit is too short",
        "A task on a cluster met its time limit again and again before it had finished a single unit.",
        "Raise `time` under `execution.slurm`, or lower `warning`, and run again.",
    ),
    "R321": Entry(
        "Jobs ended early",
        "The cluster's jobs of a run have ended, cancelled or lost, and no task says why; units are pending.",
        "Run again with `--on slurm`: only what is missing is submitted.",
    ),
    "D401": Entry(
        "A file cannot be read",
        "A data file is empty, cut off, damaged, or of another format.",
        "Fetch or write it again, or set `on_error: quarantine` to go on without what cannot be read.",
    ),
    "D402": Entry(
        "A column is missing in a file",
        "A file lacks the text, or a field that `columns:` names.",
        "Say which field it is: `columns: {text: body}`.",
    ),
    "D403": Entry(
        "A column has the wrong type in a file",
        "A file's column cannot be read as the type that is needed, such as a text that is a list.",
        "Name another field under `columns:`.",
    ),
    "D410": Entry(
        "A file of annotations cannot be read",
        "A line of a file of tagged tokens has too few columns, a tag that is none or bytes that are no UTF-8, or no "
        "column holds tags; or a file that goes with it does not fit. Or a token or span of a table does not lie within "
        "its text.",
        "Correct the line or row that is shown, or say which columns are meant with `--token-column` and `--tag-column`.",
    ),
    "D411": Entry(
        "Labels teach nothing",
        "The labels of a head are too few, or all the same.",
        "Give more labels, or other ones; the message says how many there are and what was left out.",
    ),
    "E501": Entry(
        "No space left",
        "The disk or the quota is full.",
        "Free some space and run again; it continues.",
    ),
    "E502": Entry(
        "A step cannot be imported",
        "A step's module, or a package that it needs, fails on import, or defines no step.",
        "Install the package that the message names, or correct the module.",
    ),
    "E503": Entry(
        "The network cannot be reached",
        "A file has to be fetched, and the network or the host is not there.",
        "Check the connection, or fetch the file elsewhere and put it in the folder that the message names.",
    ),
    "E504": Entry(
        "A model is not here",
        "A step needs a model that was not fetched; work never fetches by itself.",
        "Run `curate models pull NAME`.",
    ),
    "E505": Entry(
        "A file is not what it should be",
        "The SHA-256 of a fetched file is not the one on record.",
        "Remove the file and fetch it again.",
    ),
    "E506": Entry(
        "Not allowed",
        "A file or folder cannot be opened: its permissions, the disk or the store refuse.",
        "Change the permissions, or use another place.",
    ),
    "E507": Entry(
        "A model cannot be used",
        "A file that was given as a model is not one, or not one for this step.",
        "Give a model of the kind that the message names.",
    ),
    "E508": Entry(
        "A head was made for another encoder",
        "A head makes sense of the vectors of one encoder, with the weights that it was trained on. The message names both.",
        "Use the encoder that the head's card names, or train a head for the one at hand.",
    ),
    "E509": Entry(
        "A device is not there or too small",
        "A step is to run on a GPU and there is none that torch can use, or a single document does not fit in its memory.",
        "Set `device: cpu`, run where there is a GPU, or lower `max_tokens`.",
    ),
    "E510": Entry(
        "An embedding cache holds something else",
        "A file in the folder of an encoder's vectors is damaged, or none that curate wrote there.",
        "Remove the file: what it held is encoded anew. Or name another folder with `cache:`.",
    ),
    "E511": Entry(
        "No store for a run folder",
        "It replaces objects that were to be created only if there are none: two workers could both finish a unit.",
        "Put the run folder on a local or shared folder, or into S3 or GCS; inputs and outputs may stay.",
    ),
    "E520": Entry(
        "The Ray cluster cannot do this",
        "The cluster cannot be reached, no node is as large as one worker must be, or none had room in time.",
        "Correct execution.ray.address, ask for fewer threads, or add a node; the message has what Ray says.",
    ),
    "E521": Entry(
        "Slurm is not here",
        "A command of Slurm, such as sbatch, is not found on this machine.",
        "Run it on a machine from which jobs are submitted, or without `--on slurm`.",
    ),
    "E522": Entry(
        "The scheduler does not answer",
        "Slurm's controller cannot be reached; the message has its own words.",
        "Look whether `sinfo` works and try again; jobs that are in the queue go on by themselves.",
    ),
    "E523": Entry(
        "The scheduler refuses",
        "Slurm would not take such a job: an unknown partition or account, more memory than a node has, a limit that is "
        "reached. The message has its own words.",
        "Correct `execution.slurm` in the config; `sinfo` shows partitions and what their nodes have.",
    ),
    "E530": Entry(
        "A model server does not answer",
        "A server of language models was asked and gave no answer in its tries and time: it is not there, hangs, is "
        "overloaded, fails, or sends something else than a chat completion. The message has its own words.",
        "Look at the server and run again; what was answered is kept. `retries`, `timeout` and `deadline` of `server:` "
        "say how long it is waited for.",
    ),
    "E531": Entry(
        "A model server refuses",
        "A server of language models refuses every request: a wrong key, model or address. The message has its own words.",
        "Correct `model`, or `base_url` and `api_key_env` of `server:`, and run again.",
    ),
}
