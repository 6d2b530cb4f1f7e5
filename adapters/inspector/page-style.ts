/** The style of the page. Colours are those of the system, in its light or dark scheme. */
export const STYLE = `
:root{color-scheme:light dark;font:15px/1.4 system-ui,sans-serif;background:Canvas;color:CanvasText;--line:color-mix(in srgb,CanvasText 22%,transparent);--soft:color-mix(in srgb,CanvasText 7%,transparent)}
body{margin:0 auto;max-width:80rem;padding:1rem}
header{display:flex;flex-wrap:wrap;gap:.3rem 1rem;align-items:baseline}
h1{font-size:1.3rem;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}
#state{margin:0}#state.bad,.bad{color:light-dark(#b00020,#ff8a80);font-weight:600}
form,nav{display:flex;flex-wrap:wrap;gap:.5rem;margin:.5rem 0;align-items:center}
input,button,select{font:inherit;padding:.3rem .6rem;min-height:2.2rem;box-sizing:border-box}
td button{margin:0 .3rem .2rem 0}td.actions,td.name{overflow-wrap:normal;white-space:nowrap}
input{flex:1 1 10rem;min-width:0}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;white-space:nowrap}
td{overflow-wrap:anywhere;min-width:3.5rem;unicode-bidi:isolate}
td.number{font-variant-numeric:tabular-nums;white-space:nowrap}
td.payload{font-family:ui-monospace,monospace;font-size:.9em;min-width:14rem;white-space:pre-wrap}
tbody:empty::before{content:'None';display:block;padding:.3rem 0;opacity:.7}
.totals{display:grid;grid-template-columns:repeat(auto-fit,minmax(16rem,1fr));gap:0 1.5rem}
#follow .scroll{max-height:20rem;overflow:auto}
#follow{background:var(--soft);padding:.1rem .8rem .8rem;margin-top:1rem;border-radius:.4rem}
:focus-visible{outline:3px solid Highlight;outline-offset:2px}
[hidden]{display:none!important}
@media(max-width:42rem){
thead{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}
table,tbody{display:block}
tr{display:block;border:1px solid var(--line);border-radius:.4rem;padding:.3rem .6rem;margin:0 0 .5rem}
td{display:flex;gap:.6rem;justify-content:space-between;border:0;padding:.15rem 0;min-width:0}
td::before{content:attr(data-label);opacity:.75;flex:none}
td.name{white-space:normal}td.actions{white-space:normal;justify-content:flex-start;flex-wrap:wrap}td:empty{display:none}
td.payload{min-width:0}
}
`
