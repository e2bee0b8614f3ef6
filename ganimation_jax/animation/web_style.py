"""How the web page looks: on a screen two columns, the picture staying in view; on a phone one."""

FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")

CSS = """
/* Clipped, not hidden: that would be a box to scroll in, and nothing in it would stick. */
.gradio-container {max-width: 1280px !important; margin: 0 auto !important;
  overflow: clip !important;
  --quiet: color-mix(in srgb, var(--body-text-color) 65%, transparent)}
.html-container {padding: 0 !important}
#head h1 {font-size: 1.35rem; font-weight: 650; margin: 0; line-height: 1.3}
#head p, #foot p {margin: 2px 0 0; font-size: .86rem; color: var(--quiet)}
#head span, #head b {color: inherit}
#foot {border-top: 1px solid var(--border-color-primary); margin-top: 6px}
#foot p {margin-top: 10px}

#work {gap: 28px; align-items: flex-start; flex-wrap: wrap}
#stage {gap: 10px; position: sticky; top: 12px}
/* One line: it is small once there is a photo. */
#photo .upload-container .wrap {flex-direction: row; gap: 8px; min-height: 0; padding: 0;
  font-size: .92rem}
#photo .upload-container .icon-wrap {width: 20px; margin: 0}
#photo .upload-container .or {margin: 0}
#status p {margin: 0; font-size: .9rem; padding: 8px 12px; border-radius: 8px;
  background: var(--background-fill-secondary)}
#status p.problem {background: #fdecea; color: #8a1c12; font-weight: 550}
.dark #status p.problem {background: #4a1712; color: #ffd9d3}
#under {align-items: center; gap: 8px; flex-wrap: wrap}
#under > * {flex: 0 0 auto; min-width: 0 !important; width: auto}
#overlay, #faces {border: none !important; padding: 0; background: none; box-shadow: none}
#overlay {flex: 1 1 200px}
#faces {flex: 1 1 100%; order: 1}
#overlay label, #faces label {white-space: nowrap; font-size: .86rem}

#controls {gap: 6px}
#presets {gap: 6px; flex-wrap: wrap; margin-bottom: 2px}
#presets > button {flex: 1 1 84px; min-width: 0 !important; white-space: nowrap}
.region h2 {font-size: .72rem; font-weight: 650; text-transform: uppercase; letter-spacing: .07em;
  margin: 10px 0 0; color: var(--quiet)}
.units, .units > .form {display: grid !important; gap: 10px 24px !important; border: none;
  background: none; box-shadow: none;
  grid-template-columns: repeat(auto-fill, minmax(min(220px, 100%), 1fr))}
.units > .form {grid-column: 1 / -1}
.unit {border: none !important; padding: 0 !important; background: none !important;
  overflow: visible !important; min-width: 0 !important}
.unit .wrap {gap: 0 !important}
.unit .head {margin: 0 !important; position: relative}
.unit label {min-width: 0; flex: 1}
.unit label > span {font-size: .86rem; margin: 0 56px 0 0 !important;
  color: var(--body-text-color)}
.unit .info-text {font-size: .72rem; margin: 2px 0 0 !important; line-height: 1.3;
  color: var(--quiet)}
.unit .tab-like-container {position: absolute; top: 0; right: 0; height: 21px}
.unit input[type=number] {width: 3.4em !important; height: 21px !important; min-height: 0;
  font-size: .78rem; padding: 0 4px !important; text-align: right; line-height: 1}
.unit .slider_input_container {margin: 6px 0 4px !important}
.unit .min_value, .unit .max_value {display: none}

@media (max-width: 760px) {
  /* There is no room for it beside the words. */
  #photo [data-testid=block-label] {display: none}
  .gradio-container .main.app {padding: 12px 16px !important}
  #work {gap: 10px}
  #stage {display: contents}
  #stage > *, #controls {flex: 1 1 100% !important; width: 100%; min-width: 100% !important}
  #view {position: sticky !important; top: 0; z-index: 100 !important}
  #view img {max-height: 42vh !important}
  #under > button {flex: 1 1 30%}
  #overlay {flex: 1 1 100%}
  .unit .slider_input_container {margin: 8px 0 8px !important}
}
"""
