"""All tables at once, for those who need the whole schema; and the Core tables behind the models, for bulk statements."""

from __future__ import annotations

from typing import cast

from sqlalchemy import MetaData, Table
from sqlmodel import SQLModel

from integ_server.models.account import Account
from integ_server.models.achievement import GameAchievements
from integ_server.models.api_token import ApiToken
from integ_server.models.game import Game, GroupMember
from integ_server.models.job import Job
from integ_server.models.library_entry import LibraryEntry
from integ_server.models.periodic import PeriodicTask
from integ_server.models.preference import GamePreference, TitleChoice
from integ_server.models.proton_version import ProtonVersion
from integ_server.models.session import DeviceSession
from integ_server.models.title import Title
from integ_server.models.user import User
from integ_server.models.webhook import Webhook, WebhookDelivery

metadata: MetaData = SQLModel.metadata


def _table(model: type[SQLModel]) -> Table:
    return cast(Table, model.__table__)  # type: ignore[attr-defined]


users = _table(User)
accounts = _table(Account)
titles = _table(Title)
games = _table(Game)
group_members = _table(GroupMember)
library_entries = _table(LibraryEntry)
jobs = _table(Job)
sessions = _table(DeviceSession)
api_tokens = _table(ApiToken)
game_preferences = _table(GamePreference)
title_choices = _table(TitleChoice)
game_achievements = _table(GameAchievements)
webhooks = _table(Webhook)
webhook_deliveries = _table(WebhookDelivery)
proton_versions = _table(ProtonVersion)
periodic_tasks = _table(PeriodicTask)
