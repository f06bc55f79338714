// The settings.

import { version } from "minke/package.json";
import { ArrowDownUp, Trash2 } from "lucide";
import { LANGUAGES, t } from "../i18n";
import { MAC } from "../shortcuts";
import { useApp } from "../state/app";
import type { Overflow } from "../state/preferences";
import { Button } from "../ui/button";
import { Check, Field } from "../ui/field";
import { Choices } from "./choices";
import { EraseDialog } from "./erase";
import { TransferDialog } from "./lazy";
import { LockAfter } from "./lock-after";

const OVERFLOWS: readonly Overflow[] = ["drop", "summarise", "stop"];

export function SettingsScreen() {
  const { preferences, chat, ui } = useApp();
  const words = t.value.settings;
  const settings = preferences.settings.value;
  const { overflow, overflowHint } = t.value.chat;
  const ghosts = (ghostByDefault: boolean) => {
    preferences.change({ ghostByDefault });
    // The conversation that waits for its first message is a new one, too.
    if (chat.tree.peek().size > 0) return;
    chat.begin();
    ui.go("settings");
  };
  return (
    <div class="page settings">
      <h1 tabIndex={-1}>{words.title}</h1>

      <h2>{words.looks}</h2>
      <div class="card">
        <Field label={words.language}>
          {(tied) => (
            <select
              {...tied}
              value={settings.language}
              onChange={({ currentTarget: { value } }) =>
                preferences.change({ language: value as typeof settings.language })
              }
            >
              <option value="auto">{words.auto}</option>
              {Object.entries(LANGUAGES).map(([code, name]) => (
                <option key={code} value={code} lang={code}>
                  {name}
                </option>
              ))}
            </select>
          )}
        </Field>
        <Choices
          legend={words.theme}
          value={settings.theme}
          options={(["auto", "light", "dark"] as const).map((value) => ({ value, label: words.themes[value] }))}
          onChange={(theme) => preferences.change({ theme })}
        />
      </div>

      <h2>{words.writing}</h2>
      <div class="card">
        <Choices
          legend={words.enter}
          value={settings.enterSends ? "sends" : "line"}
          options={[
            { value: "sends", label: words.enterSends },
            { value: "line", label: words.enterLine(MAC ? "⌘" : "Ctrl") },
          ]}
          onChange={(value) => preferences.change({ enterSends: value === "sends" })}
        />
      </div>

      <h2>{words.answers}</h2>
      <div class="card">
        <Choices
          legend={words.full}
          value={preferences.overflow}
          options={OVERFLOWS.map((value) => ({ value, label: overflow[value], hint: overflowHint[value] }))}
          onChange={(value) => preferences.setOther("overflow", value)}
        />
        <Check
          label={words.tools}
          hint={words.toolsHint}
          checked={preferences.other("tools", false)}
          onChange={(is) => preferences.setOther("tools", is)}
        />
        <Check
          label={words.stats}
          checked={settings.showStats}
          onChange={(showStats) => preferences.change({ showStats })}
        />
        <Check
          label={words.logprobs}
          hint={words.logprobsHint}
          checked={settings.logprobs}
          onChange={(logprobs) => preferences.change({ logprobs })}
        />
        <Check
          label={words.wrap}
          checked={settings.wrapCode}
          onChange={(wrapCode) => preferences.change({ wrapCode })}
        />
        <Check
          label={words.links}
          hint={words.linksHint}
          checked={settings.confirmLinks}
          onChange={(confirmLinks) => preferences.change({ confirmLinks })}
        />
      </div>

      <h2>{words.privacy}</h2>
      <div class="card">
        <Check label={words.ghost} hint={words.ghostHint} checked={settings.ghostByDefault} onChange={ghosts} />
        <LockAfter />
        <p class="last">
          <a href="#/privacy">{words.toPrivacy}</a>
        </p>
      </div>

      <h2>{words.data}</h2>
      <div class="card row">
        <Button icon={ArrowDownUp} onClick={() => ui.open((close) => <TransferDialog onClose={close} />)}>
          {words.transfer}
        </Button>
        <Button icon={Trash2} tone="danger" onClick={() => ui.open((close) => <EraseDialog onClose={close} />)}>
          {words.erase}
        </Button>
      </div>

      <h2>{words.about}</h2>
      <div class="card">
        <p>{words.version(version)}</p>
        <p>
          <a href="THIRD-PARTY.txt">{words.licences}</a>
        </p>
        <p class="last">{words.modelLicences}</p>
      </div>
    </div>
  );
}
