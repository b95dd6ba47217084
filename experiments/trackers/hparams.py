"""What TensorBoard's HParams tab reads: the options of a session, as the plugin's own messages.

No experiment message is written: where there is one, the tab takes its columns from the first that it finds, and a
grid's runs differ in their options. Without one it makes the columns of all sessions' options, and of all scalars in
their folders.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from experiments.trackers.options import Scalar


def session(options: Mapping[str, Scalar]) -> list[Any]:
    """The summaries that begin and end a session which has succeeded; texts, numbers and truth values keep their type.

    Written out because TensorBoard's own maker needs TensorFlow, and torch's makes an experiment, and numbers of truth
    values (``torch.utils.tensorboard.summary.hparams``).
    """
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    summaries: Any = summary_pb2  # the members of generated modules are made at import
    states: Any = api_pb2
    messages: Any = plugin_data_pb2
    now = time.time()
    start = messages.SessionStartInfo(start_time_secs=now)
    for name, value in options.items():
        kind = "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else "number_value"
        setattr(start.hparams[name], kind, value)
    end = messages.SessionEndInfo(status=states.STATUS_SUCCESS, end_time_secs=now)
    parts = {
        metadata.SESSION_START_INFO_TAG: messages.HParamsPluginData(session_start_info=start),
        metadata.SESSION_END_INFO_TAG: messages.HParamsPluginData(session_end_info=end),
    }
    return [
        summaries.Summary(value=[summaries.Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data))])
        for tag, data in parts.items()
    ]
